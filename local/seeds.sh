#!/usr/bin/env bash
# Table 1 of the paper over several seeds: each has a deep model of its own, which is pruned in every way that the
# paper compares and fine-tuned for the same epochs, with and without distillation, and from repaired models too.
# Run it in a recipe that trains its deep model: some 30 minutes a seed in recipes/mini, an hour or two in recipes/fsdd,
# on one thread. A killed run goes on.
#
#   steps/seeds.sh                             recipes/mini
#   steps/seeds.sh --corpus DIR                recipes/fsdd
#   steps/seeds.sh --figure exp/claims.png     draws it as well
set -euo pipefail

# options
corpus=               # [path] copy of the dataset, where the recipe's run.sh takes one
seeds="1234 2 3"      # of the deep models, the searches and the fine-tuning; data are the same for all
proposals="scratch top glp dc_coarse svcca_coarse dc_fine svcca_fine skip_kl_fine" # rows of the table
distilled="scratch top glp dc_coarse svcca_coarse dc_fine svcca_fine skip_kl_fine" # those that are distilled as well
repaired="top glp dc_fine skip_kl_fine" # those that are repaired and fine-tuned from there as well
repair=256            # utterances that these are repaired with
epochs=2              # of fine-tuning
num_prune=6           # N, layers removed; one that the recipe's run.sh does not search by itself is searched too
figure=               # [path] picture of the table to write
# end of options
. utils/parse_options.sh
# shellcheck disable=SC1091 # that of the recipe which it is run in
. ./path.sh

exps=
for seed in $seeds; do
  model=seed$seed
  if [ "$seed" = 1234 ]; then model=transformer12; fi # run.sh's own
  exps="$exps exp/$model"
  common=(--model "$model" --seed "$seed" --finetune-prune "$num_prune" --tag "e$epochs" --decode-sets test)
  common+=(--finetune-opts "--number_of_epochs $epochs" --stop-stage 5)
  if [ -n "$corpus" ]; then common+=(--corpus "$corpus"); fi
  if option_is_given num_prune; then common+=(--num-prune "$num_prune"); fi
  ./run.sh "${common[@]}" --repair 0 --proposals "$proposals"
  ./run.sh "${common[@]}" --repair 0 --stage 5 --proposals "$distilled" --distill both
  ./run.sh "${common[@]}" --repair "$repair" --stage 5 --proposals "$repaired"
  ./run.sh "${common[@]}" --stage 6 --stop-stage 6
done
drawn=()
if [ -n "$figure" ]; then drawn=(--figure "$figure"); fi
python steps/table_of_seeds.py --exp "$exps" --num-prune "$num_prune" --tag "e$epochs" ${drawn[@]+"${drawn[@]}"}
