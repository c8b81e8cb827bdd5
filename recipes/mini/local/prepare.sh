#!/usr/bin/env bash
# Stage 0, data: synthesises the mini corpus in AISHELL-1's layout and makes data/{train,dev,test} of it.
# Run from the recipe's folder. What is there already, made with the same options, stays.
set -euo pipefail

# options
downloads=downloads   # [path] folder that gets data_aishell/
num_train=2000        # utterances for training
num_dev=400           # utterances of the dev set
num_test=400          # utterances of the test set
processes=2           # speakers synthesised at once; the corpus is the same
seed=1                # seed of the sentences, the speakers and the noise
force=false           # make again what was made with other options
# end of options
. utils/parse_options.sh
. ./path.sh

python local/make_corpus.py ${forced[@]+"${forced[@]}"} --target "$downloads" --num-train "$num_train" --num-dev "$num_dev" \
  --num-test "$num_test" --seed "$seed" --processes "$processes"
python steps/prepare_aishell.py ${forced[@]+"${forced[@]}"} --corpus "$downloads" --data data
