#!/usr/bin/env bash
# Deep models that are trained to be pruned (docs/evidence.md#what-would-you-do-instead): as they are, with layerdrop, intermediate CTC, and supernets whose
# layers are given or learned (Xu et al., 2024), each searched, pruned and repaired. Some 15 to 25 minutes a model on one CPU core; a killed
# run goes on from where it was.
set -euo pipefail
called_from=$PWD
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# options
kinds="plain layerdrop interctc supernet topk zero_out" # ways of training
seeds="1234 2 3"      # of the deep models; data are the same for all
num_prune=6           # N, layers that the learned supernets are short of
# end of options
. utils/parse_options.sh
. ./path.sh

for kind in $kinds; do
  exps=() choices="skip_kl dc top"
  for seed in $seeds; do
    model=$kind$seed options=()
    case $kind in
      plain)
        model=seed$seed
        if [ "$seed" = 1234 ]; then model=transformer12; fi # run.sh's own
        ;;
      layerdrop) options=(--layerdrop 0.1) ;;
      interctc) options=(--deep-opts "--subnetworks 7-12") ;;
      supernet) options=(--deep-opts "--subnetworks 2,4,6,8,10,12") ;;
      topk | zero_out) ;;
      *)
        printf 'supernets.sh: there is no kind %s; the kinds are plain, layerdrop, interctc, supernet, topk and zero_out\n' "$kind" >&2
        exit 2
        ;;
    esac
    if [ "$kind" = topk ] || [ "$kind" = zero_out ]; then
      local/prepare.sh --seed 1234 # as run.sh does, with its data_seed
      python steps/select_subsets.py --valid-from dev --num-valid 320 --num-probe 1024 --seed 1234
      python ../../benchmarks/learned_layers.py "$kind" --train data/train --dev data/dev --out "exp/$model" --num-prune "$num_prune" --seed "$seed"
      choices="$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["removed"])' "exp/$model/learned.json") top"
    else
      ./run.sh --model "$model" --seed "$seed" ${options[@]+"${options[@]}"} --stop-stage 3 --measures "dc skip_kl" --reverse-measures ""
      exps+=("exp/$model")
    fi
    # shellcheck disable=SC2086
    python ../../benchmarks/repair.py states --exp "exp/$model" --sizes 256 --num-prune 6 8 --choices $choices
  done
  if [ ${#exps[@]} -gt 0 ]; then
    python ../../benchmarks/repair_seeds.py "${exps[@]}" --num-prune 6 8 --choices skip_kl dc top --sizes 256
  fi
done
