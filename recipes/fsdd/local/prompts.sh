#!/usr/bin/env bash
# Stage 0, data, in the place of prepare.sh in a copy of this recipe (local/evidence.sh --parts prompts): data/{train,dev,test} of
# the telephone prompts that recipes/whisper downloads, in three languages, one speaker each, in small letters without punctuation.
set -euo pipefail

# options
languages="it es en"  # of the prompts
num_dev=40            # prompts a language of the dev set
num_test=60           # prompts a language of the test set
longest=15            # seconds of the longest prompt that is taken
seed=1                # seed for the random draw of the sets
force=false           # make again what was made with other options
# end of options
. utils/parse_options.sh
. ./path.sh

for language in $languages; do
  (cd ../whisper && local/download.sh --target downloads --language "$language")
  python ../whisper/local/prepare_sets.py ${forced[@]+"${forced[@]}"} --corpus "../whisper/downloads/prompts_$language" \
    --data "data/$language" --language "$language" --num-dev "$num_dev" --num-test "$num_test" --longest "$longest" \
    --fewest-words 1 --normaliser basic --seed "$seed"
done
for set in train dev test; do
  mkdir -p "data/$set"
  for table in wav.scp text utt2spk utt2dur; do
    for language in $languages; do cat "data/$language/$set/$table"; done | LC_ALL=C sort >"data/$set/$table"
  done
  utils/validate_data_dir.sh "data/$set"
done
