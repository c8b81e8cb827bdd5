#!/usr/bin/env bash
# Fetches parts of LibriSpeech (OpenSLR 12, CC BY 4.0) and unpacks them to TARGET/LibriSpeech/<part>.
# A broken download goes on where it stopped; what is complete already stays.
set -euo pipefail

# options
target=downloads                                              # [path] folder that gets LibriSpeech/
parts="dev-clean test-clean test-other train-clean-100"       # parts, separated by spaces
mirror=https://www.openslr.org/resources/12                   # or https://openslr.trmal.net/resources/12, ...
# end of options
. utils/parse_options.sh
. ./path.sh

archive_bytes() { # PART
  case $1 in
    dev-clean) echo 337926286 ;;
    dev-other) echo 314305928 ;;
    test-clean) echo 346663984 ;;
    test-other) echo 328757843 ;;
    train-clean-100) echo 6387309499 ;;
    train-clean-360) echo 23049477885 ;;
    train-other-500) echo 30593501606 ;;
    *)
      echo "download.sh: error: LibriSpeech has no part $1" >&2
      return 1
      ;;
  esac
}

for part in $parts; do
  bytes=$(archive_bytes "$part")
  if [ ! -d "$target/LibriSpeech/$part" ]; then
    python steps/fetch.py --url "$mirror/$part.tar.gz" --bytes "$bytes" --out "$target/$part.tar.gz"
    python steps/unpack.py --archive "$target/$part.tar.gz" --member "LibriSpeech/$part" --target "$target"
  fi
done
echo "$target/LibriSpeech has $parts; the archives beside it can be deleted"
