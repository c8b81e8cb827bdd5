#!/usr/bin/env bash
# Fetches AISHELL-1 (OpenSLR 33, Apache-2.0): 15.6 GB to download and 35 GB in all while it is unpacked.
# A broken download goes on where it stopped; what is complete already stays.
set -euo pipefail

# options
target=downloads                                  # [path] folder that gets data_aishell/ and resource_aishell/
mirror=https://www.openslr.org/resources/33       # or https://openslr.trmal.net/resources/33, ...
# end of options
. utils/parse_options.sh
. ./path.sh

fetch() { # NAME BYTES
  if [ ! -d "$target/$1" ]; then
    python steps/fetch.py --url "$mirror/$1.tgz" --bytes "$2" --out "$target/$1.tgz"
    python steps/unpack.py --archive "$target/$1.tgz" --member "$1" --target "$target"
  fi
}
fetch resource_aishell 1246920
fetch data_aishell 15582913665
python steps/unpack.py --nested "$target/data_aishell/wav"
echo "$target/data_aishell is complete; $target/data_aishell.tgz can be deleted"
