#!/usr/bin/env bash
# Layer pruning of the English CTC models that most people have, on LibriSpeech.
#
# Stages 0 to 4 and 6 run anywhere, stage 5 wants a GPU: README.md says what
# each stage needs. The error rate is WER; the text is the corpus' own.
#
#   ./run.sh                                   facebook/wav2vec2-base-960h, 12 to 6 layers
#   ./run.sh --model facebook/hubert-large-ls960-ft --finetune-prune 12
#   ./run.sh --model patrickvonplaten/wavlm-libri-clean-100h-base-plus --letter-case lower
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"

# options
stage=0                   # first stage to run (0 to 7)
stop_stage=7              # last stage to run
force=false               # make results again that were made with other options
nj=1                      # processes (GPUs) that share the utterances of stages 1, 4 and 6
train_nj=1                # processes (GPUs) of training (stage 5), each with batches of its own
# data (stage 0)
corpus=                   # [path] folder that holds LibriSpeech/; empty: downloaded to downloads/
train_parts=train-clean-100 # parts of data/train, separated by spaces
letter_case=upper         # upper as in the corpus, or lower for models with lower-case letters
valid_from=dev            # the fine search's utterances come from dev or test
num_valid=320             # how many
num_probe=9600            # training utterances that layers are compared on
# the deep model (stage 0)
model=facebook/wav2vec2-base-960h # a model directory or a hub name
name=                     # exp/<name> holds everything made from it; empty: the last part of the model's name
# the search (stages 1 to 4)
measures="dc svcca skip_kl" # measures to search by: dc and svcca as in the paper, skip_kl (docs/measures.md), ...
reverse_measures="dc svcca" # measures whose worst candidates are decoded too (rev. of Fig. 2)
dc_opts=                  # of dc: "--batch-size 32 --num-batch 16" is its steadier setting (benchmarks/README.md)
skip_kl_opts=             # of skip_kl: --num-utterances 32, --max-block 6, ...
num_prune=1:8             # layers to remove: a number, a list 4,6,8 or a range 1:8
search=exact              # coarse search: exact, or beam as in the paper
beam_size=10              # K, candidates of the coarse search
refine=100                # of a skip measure: proposals that are run whole to choose the K from; 0: none
baselines="top glp random" # proposals to compare with: top bottom middle uniform random reverse glp linear_probe
metric=wer                # error rate of searches and scores: cer or wer
max_seconds=160           # padded seconds of audio in a batch of stages 1, 4 and 6
# fine-tuning, decoding, report (stages 5 to 7)
finetune_prune=6          # N of the models to fine-tune, one or several
proposals=dc_fine         # what to fine-tune: dc_fine svcca_coarse glp top scratch 1,3-4,7 ...
distill=none              # also learn from the deep model: none, ctc, hidden or both
finetune_opts=            # more of conf/finetune.yaml, as "--key value ..."
tag=                      # appended to the names of stage 5, to keep several ways of fine-tuning
decode_sets="dev test test_other" # data sets to decode
max_cer_increase=1.0      # absolute increase that the recommended model may have, in percent
seed=1234                 # of everything random
# end of options
. utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. utils/common.sh
. utils/lock.sh

if [ -d "$called_from/$model" ]; then model=$called_from/$model; fi
exp=exp/${name:-$(basename "$model")}
lock_or_stop "$exp/.lock" 9 "recipes/$(basename "$PWD")/$exp"
forced=()
if [ "$force" = true ]; then forced=(--force); fi

if in_stage 0; then
  log "stage 0: data preparation and the deep model"
  local/prepare.sh --force "$force" --corpus "$corpus" --train-parts "$train_parts" --letter-case "$letter_case"
  python steps/select_subsets.py ${forced[@]+"${forced[@]}"} --valid-from "$valid_from" \
    --num-valid "$num_valid" --num-probe "$num_probe" --seed "$seed"
  python steps/fetch_model.py ${forced[@]+"${forced[@]}"} --model "$model" --out "$exp"
fi

if in_stage 1; then
  log "stage 1: time-averaged output of every layer"
  launch "$nj" steps/stage1_dump_hidden_states.py ${forced[@]+"${forced[@]}"} --model "$exp/deep" \
    --data data/probe --max-seconds "$max_seconds" --out "$exp/hidden"
fi

if in_stage 2; then
  log "stage 2: correlation between layers"
  for measure in $measures; do
    # shellcheck disable=SC2046
    python steps/stage2_correlation.py ${forced[@]+"${forced[@]}"} --hidden "$exp/hidden" --model "$exp/deep" \
      --data data/probe --measure "$measure" --seed "$seed" --out "$exp/correlation" \
      $(options_of "$measure" dc "$dc_opts" skip_kl "$skip_kl_opts")
  done
fi

if in_stage 3; then
  log "stage 3: coarse search"
  for measure in $measures; do
    python steps/stage3_coarse_search.py ${forced[@]+"${forced[@]}"} --exp "$exp" --measure "$measure" \
      --num-prune "$num_prune" --method "$search" --beam-size "$beam_size" \
      --refine "$refine" --model "$exp/deep" --data data/probe
  done
  for measure in $reverse_measures; do
    python steps/stage3_coarse_search.py ${forced[@]+"${forced[@]}"} --exp "$exp" --measure "$measure" --reverse \
      --num-prune "$num_prune" --method "$search" --beam-size "$beam_size"
  done
fi

if in_stage 4; then
  log "stage 4: fine search"
  launch "$nj" steps/stage4_fine_search.py ${forced[@]+"${forced[@]}"} --exp "$exp" --model "$exp/deep" --data data/valid \
    --num-prune "$num_prune" --measures "$measures" --reverse-measures "$reverse_measures" \
    --baselines "$baselines" --metric "$metric" \
    --max-seconds "$max_seconds" --seed "$seed"
fi

if in_stage 5; then
  log "stage 5: fine-tuning"
  for n in $finetune_prune; do
    for proposal in $proposals; do
      # shellcheck disable=SC2086
      launch "$train_nj" steps/stage5_finetune.py ${forced[@]+"${forced[@]}"} --exp "$exp" --num-prune "$n" --proposal "$proposal" \
        --metric "$metric" --distill "$distill" --tag "$tag" conf/finetune.yaml --seed "$seed" $finetune_opts
    done
  done
fi

if in_stage 6; then
  log "stage 6: decoding"
  launch "$nj" steps/stage6_decode.py ${forced[@]+"${forced[@]}"} --exp "$exp" --data "$decode_sets" --metric "$metric" \
    --max-seconds "$max_seconds"
fi

if in_stage 7; then
  log "stage 7: report"
  python steps/stage7_report.py --exp "$exp" --metric "$metric" --max-cer-increase "$max_cer_increase" \
    --title "Layer pruning on LibriSpeech" --note "Fine-tuned on $train_parts; the fine search's utterances are from $valid_from."
fi
