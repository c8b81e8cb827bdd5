#!/usr/bin/env bash
# Stage 0, data: makes data/{train,dev,test} of AISHELL-1, which is downloaded unless --corpus says where it is.
# Run from the recipe's folder. What is there already, made with the same options, stays.
set -euo pipefail

# options
corpus=               # [path] folder that holds data_aishell/, unpacked; empty: downloaded to downloads/ (15.6 GB)
check_counts=true     # warn when the sets do not have the published numbers of utterances
force=false           # make again what was made with other options
# end of options
. utils/parse_options.sh
. ./path.sh

if [ -z "$corpus" ]; then
  local/download.sh --target downloads
  corpus=downloads
fi
python steps/prepare_aishell.py ${forced[@]+"${forced[@]}"} --corpus "$corpus" --data data --check-counts "$check_counts"
