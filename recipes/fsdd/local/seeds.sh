#!/usr/bin/env bash
# Table 1 of the paper on real speech, over several seeds: every one a deep model of its own, pruned
# in every way that the paper compares, fine-tuned for the same epochs, with and without distillation.
# Some 30 minutes a seed on two CPU cores; a killed run goes on from where it was.
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# options
corpus=               # [path] copy of the dataset, as run.sh takes it
seeds="1234 2 3"      # of the deep models, the searches and the fine-tuning; data are the same for all
proposals="scratch top glp dc_coarse svcca_coarse dc_fine svcca_fine skip_kl_fine" # rows of the table
distilled="scratch top glp dc_coarse svcca_coarse dc_fine svcca_fine skip_kl_fine" # and of its second half
epochs=2              # of fine-tuning
num_prune=6           # N, layers removed
# end of options
. utils/parse_options.sh
. ./path.sh

exps=
for seed in $seeds; do
  model=seed$seed
  if [ "$seed" = 1234 ]; then model=transformer12; fi # run.sh's own
  exps="$exps exp/$model"
  common=(--corpus "$corpus" --model "$model" --seed "$seed" --finetune-prune "$num_prune" --tag "e$epochs" --decode-sets test --repair 0)
  common+=(--finetune-opts "--number_of_epochs $epochs")
  ./run.sh "${common[@]}" --stop-stage 4
  ./run.sh "${common[@]}" --stage 5 --stop-stage 5 --proposals "$proposals"
  ./run.sh "${common[@]}" --stage 5 --stop-stage 5 --proposals "$distilled" --distill both
  ./run.sh "${common[@]}" --stage 6 --stop-stage 6
done
python steps/table_of_seeds.py --exp "$exps" --num-prune "$num_prune" --tag "e$epochs"
