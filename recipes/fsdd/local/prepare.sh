#!/usr/bin/env bash
# Stage 0, data: makes digit strings of the Free Spoken Digit Dataset and data/{train,dev,test} of them.
# Run from the recipe's folder. What is there already, made with the same options, stays.
set -euo pipefail

# options
corpus=               # [path] copy of the dataset, the folder that holds recordings/; empty: downloaded to downloads/
num_train=5000        # digit strings of 3 to 7 digits for training
num_short=2000        # and of 1 to 3 digits, which training starts with
num_dev=400           # digit strings of the dev set
num_test=600          # digit strings of the test set
unseen_speakers=      # dev and test are of these speakers alone, train of the others; empty: all speakers are in all sets
seed=1                # seed of the strings
force=false           # make again what was made with other options
# end of options
. utils/parse_options.sh
. ./path.sh

if [ -z "$corpus" ]; then
  local/download.sh --target downloads
  corpus=downloads/free-spoken-digit-dataset
fi
python local/make_strings.py ${forced[@]+"${forced[@]}"} --corpus "$corpus" --data data --num-train "$num_train" \
  --num-short "$num_short" --num-dev "$num_dev" --num-test "$num_test" --unseen-speakers "$unseen_speakers" --seed "$seed"
