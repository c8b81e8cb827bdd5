#!/usr/bin/env bash
# Stage 0, data: makes data/{train,dev,test} of telephone prompts, which are downloaded unless --corpus says where they are, or
# of your own data directories. Run from the recipe's folder. What is there already, made with the same options, stays.
set -euo pipefail

# options
corpus=               # [path] folder with the data directories train, dev and test, or of the prompts; empty: downloaded
language=it           # of the prompts
num_dev=20            # prompts of the dev set
num_test=40           # prompts of the test set
longest=30            # seconds of the longest prompt that is taken
seed=1                # seed for the random draw of the sets
allow_pipes=false     # run the commands of wav.scp entries that are pipes
force=false           # make again what was made with other options
# end of options
. utils/parse_options.sh
. ./path.sh

if [ -z "$corpus" ]; then
  local/download.sh --target downloads --language "$language"
  corpus=downloads/prompts_$language
fi
python local/prepare_sets.py ${forced[@]+"${forced[@]}"} ${piped[@]+"${piped[@]}"} --corpus "$corpus" --data data --language "$language" \
  --num-dev "$num_dev" --num-test "$num_test" --longest "$longest" --seed "$seed"
