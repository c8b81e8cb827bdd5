#!/usr/bin/env bash
# Stage 0, data: makes data/{train,dev,test,test_other} of LibriSpeech, whose parts are downloaded unless
# --corpus says where they are. Run from the recipe's folder. What is there already, made with the same options, stays.
set -euo pipefail

# options
corpus=                            # [path] folder that holds LibriSpeech/; empty: downloaded to downloads/ (7.4 GB)
train_parts=train-clean-100        # parts of data/train, separated by spaces
dev_parts=dev-clean                # parts of data/dev
test_parts=test-clean              # parts of data/test
test_other_parts=test-other        # parts of data/test_other
letter_case=upper                  # upper as in the corpus, or lower for models with lower-case letters
force=false                        # make again what was made with other options
# end of options
. utils/parse_options.sh
. ./path.sh

if [ -z "$corpus" ]; then
  local/download.sh --target downloads --parts "$train_parts $dev_parts $test_parts $test_other_parts"
  corpus=downloads
fi
python local/prepare_librispeech.py ${forced[@]+"${forced[@]}"} --corpus "$corpus" --data data --letter-case "$letter_case" \
  --train "$train_parts" --dev "$dev_parts" --test "$test_parts" --test-other "$test_other_parts"
