#!/usr/bin/env bash
# The tables of docs/evidence.md that this recipe makes: deeper models, noise, speakers that training has not heard, prompts in three
# languages, and what one would do instead. About five hours on two CPU cores, most of it training; a run that was killed goes on.
#
#   local/evidence.sh --corpus DIR                      all parts
#   local/evidence.sh --corpus DIR --parts noise        one of them
set -euo pipefail
called_from=$PWD
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# options
corpus=               # [path] copy of the dataset, as run.sh takes it
parts="depth noise unseen prompts instead" # which tables
models="transformer12 deep24 deep48" # of depth; the others than run.sh's own have a conf/<model>.conf
seeds=1234            # of depth, unseen and prompts: of the deep models, one or several; the others than 1234 are exp/<model>_<seed>
greedy=96             # utterances that GLP decodes at every step; its time grows with the cube of the layers
snr=0                 # of noise: the lowest signal-to-noise ratio in dB
snr_to=20             # and the highest
unseen="theo yweweler" # of unseen: speakers of dev and test, whom training does not hear
# end of options
. utils/parse_options.sh
. ./path.sh

named() { # MODEL SEED: the deep model's name
  if [ "$2" = 1234 ]; then printf '%s' "$1"; else printf '%s_%s' "$1" "$2"; fi
}

deep() { # MODEL SEED: stage 0
  local options=(--corpus "$corpus" --stop-stage 0)
  if [ -e "conf/$1.conf" ]; then options+=(--config "conf/$1.conf"); fi
  ./run.sh "${options[@]}" --seed "$2" --model "$(named "$1" "$2")"
}

copy() { # NAME: this recipe without what it made, as recipes/NAME
  mkdir -p "../$1"
  cp -R README.md cmd.sh conf local path.sh run.sh steps utils "../$1/"
}

searched() { # OPTION...: in a copy, the deep models, their searches, what a repair gives and what the scores are worth
  local name exps=() searches=()
  for seed in $seeds; do
    name=$(named transformer12 "$seed")
    exps+=("exp/$name") searches+=("exp/searches/$name")
    ./run.sh "$@" --seed "$seed" --model "$name" --stop-stage 3 --measures "dc skip_kl" --reverse-measures ""
    python ../../benchmarks/repair.py states --exp "exp/$name" --sizes 256
    python ../../benchmarks/weak_models.py --model "exp/$name/deep" --out "exp/searches/$name"
  done
  python ../../benchmarks/repair_figure.py "${exps[0]}" --out exp/states.png
  python ../../benchmarks/repair_seeds.py "${exps[@]}" --sizes 256
  python ../../benchmarks/weak_tables.py table "${searches[@]}"
}

for part in $parts; do
  case $part in
    depth)
      folders=()
      for model in $models; do
        for seed in $seeds; do
          name=$(named "$model" "$seed")
          deep "$model" "$seed"
          folders+=("exp/$name/depth")
          python ../../benchmarks/depth.py run --model "exp/$name/deep" --out "exp/$name/depth" --greedy "$greedy"
        done
      done
      python ../../benchmarks/depth.py table "${folders[@]}"
      python ../../benchmarks/depth.py figure "${folders[@]}" --out exp/depth.png
      ;;
    noise)
      deep transformer12 1234
      ./run.sh --corpus "$corpus" --stage 1 --stop-stage 3
      if [ "$(cat data/noise/.snr 2>/dev/null)" != "$snr $snr_to" ]; then # missing, unfinished, or of another noise
        for set in probe valid test; do
          python utils/add_noise.py --data "data/$set" --snr "$snr" --snr-to "$snr_to" --sample-rate 8000 --out "data/noise/$set" --force
        done
        echo "$snr $snr_to" > data/noise/.snr
      fi
      weak=exp/transformer12/noise/searches repaired=exp/transformer12/noise/repair.jsonl
      python ../../benchmarks/weak_models.py --model exp/transformer12/deep --data data/noise --out "$weak"
      python ../../benchmarks/weak_tables.py table "$weak"
      for probe in probe noise/probe; do
        python ../../benchmarks/repair.py states --exp exp/transformer12 --test noise/test --probe "$probe" --sizes 256 \
          --choices skip_kl top --out "$repaired"
      done
      python ../../benchmarks/repair_figure.py exp/transformer12 --rows noise/repair.jsonl --test noise/test --probes probe noise/probe --out exp/noise.png
      ;;
    unseen)
      copy fsdd_unseen
      (cd ../fsdd_unseen && searched --corpus "$corpus" --unseen-speakers "$unseen")
      ;;
    prompts)
      copy prompts
      mv ../prompts/local/prompts.sh ../prompts/local/prepare.sh
      sed -e "/--num-train/s/--corpus.*/--seed \"\$data_seed\"/" -e "/^ *--unseen-speakers/d" run.sh >../prompts/run.sh
      (cd ../prompts && searched --deep-opts "--number_of_epochs 60 --snapshot_epochs [30]")
      ;;
    instead)
      deep transformer12 1234
      ./run.sh --corpus "$corpus" --stage 1 --stop-stage 3
      exp=exp/transformer12
      python ../../benchmarks/repair_training.py finetune --exp "$exp" --num-prune 6 --choices skip_kl \
        --epochs 0 1 2 3 --starts pruned repaired scratch scratch_distilled
      for removed in none 7-12; do
        python ../../benchmarks/low_rank.py --exp "$exp" --remove "$removed" --shares 0.5 0.33
      done
      python ../../benchmarks/instead.py --exp "$exp" --out exp/instead.png
      ;;
    *)
      printf 'evidence.sh: there is no part %s; the parts are depth, noise, unseen, prompts and instead\n' "$part" >&2
      exit 2
      ;;
  esac
done
