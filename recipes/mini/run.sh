#!/usr/bin/env bash
# Layer pruning with nothing to download: synthetic Mandarin commands spoken by espeak-ng.
#
# Trains a 12-layer CTC model, finds which layers can go (CoMFLP), fine-tunes
# what is left, decodes and reports. About 16 minutes on two CPU cores.
#
#   ./run.sh                                   all stages
#   ./run.sh --stage 3 --stop-stage 4          the two searches again
#   ./run.sh --model ld01 --layerdrop 0.1      another deep model, beside the first
#   ./run.sh --config my.conf                  options from a file, a line each: name=value
set -euo pipefail
called_from=$PWD
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")"

# options
stage=0                   # first stage to run (0 to 7)
stop_stage=7              # last stage to run
force=false               # make results again that were made with other options or from other inputs
nj=1                      # processes (GPUs) on each node that share the utterances of stages 1 to 4 and 6
precision=fp32            # what stages 1 to 4 and 6 compute in: fp32; bf16 or fp16 are faster on GPUs
train_nj=1                # processes (GPUs) on each node that train (stages 0 and 5) and share every batch
num_nodes=1               # nodes that share the work (docs/cluster.md); start this command on each of them
node_rank=0               # number of this node, from 0
rdzv_endpoint=            # HOST:PORT where the nodes meet: node 0 and a free port of it
# data (stage 0)
num_train=2000            # sentences that are synthesised for training
valid_from=dev            # set that the fine search's utterances come from: dev, or test as in the paper
num_valid=320             # utterances of the fine search
allow_pipes=false         # run the commands of wav.scp entries that are pipes, of data directories of your own
num_probe=1024            # training utterances that the layers are compared on
data_seed=1234            # seed for the corpus and for these draws
# the deep model (stage 0)
model=transformer12       # name of the deep model; exp/<model> holds everything made from it
layerdrop=0.0             # probability of skipping a layer while it trains; 0.1 makes a model that prunes better
deep_opts=                # changes to conf/deep.yaml, as "--key value ..."
# the search (stages 1 to 4)
measures="dc svcca skip_kl" # measures to search by: dc and svcca as in the paper, skip_kl (docs/measures.md), ...
reverse_measures="dc svcca" # measures whose worst candidates are decoded too (rev. of Fig. 2)
dc_opts=                  # options of dc; "--batch-size 32 --num-batch 16" is its steadier setting (benchmarks/README.md)
skip_kl_opts=             # options of skip_kl, such as "--num-utterances 32 --max-block 2"
num_prune=4,6,8           # N, layers to remove: a number, a list 4,6,8 or a range 1:8
target=                   # instead of num_prune and finetune_prune, what the pruned model is to be: params=50%, speedup=1.5, ... (docs/targets.md)
search=exact              # coarse search: exact, or beam as in the paper
beam_size=10              # K, candidates of the coarse search
refine=100                # skip measures only: run the best 100 as whole pruned models (more, where that is not enough); 0: off
refine_by=                # what these are ordered by: near+text, kl, ctc or repair (docs/measures.md), of models other than CTC kl+text, kl or repair; empty: the first of these
baselines="top uniform glp random" # proposals to compare with: top bottom middle uniform spaced random reverse glp greedy linear_probe
metric=cer                # error rate of searches and scores: cer or wer
normaliser=none           # before errors are counted: none, basic (small letters, no punctuation) or english (numbers too)
# repair, fine-tuning, decoding, report (stages 5 to 7)
repair=256               # utterances of data/probe that pruned models are repaired with before training; 0: off (docs/repair.md)
repair_candidates=false  # stage 4 repairs all candidates as well, before it decodes them
finetune_prune=6          # N of the models to fine-tune, one or several, as in num_prune
proposals="skip_kl_fine dc_fine top" # what to fine-tune: dc_fine svcca_coarse glp top scratch deep 1,3-4,7 ...
distill=none              # also learn from the deep model: none, ctc, hidden or both; only: from it alone, without texts
finetune_opts=            # changes to conf/finetune.yaml, as "--key value ..."
tag=                      # added to the names of stage 5's results, to keep several ways of fine-tuning
decode_sets="dev test"    # data sets to decode, folders of data/
max_cer_increase=1.0      # how many percentage points worse than the deep model the recommended model may be
seed=1234                 # seed for training and the searches
# end of options
. utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. steps/pipeline.sh

exp=exp/$model
report_title="Layer pruning on synthetic Mandarin commands"
report_note="Synthetic speech (espeak-ng): the error rates show that the method works, not how well people are recognised."
begin_experiment

if in_stage 0 "data preparation and the deep model"; then
  prepare_data --num-train "$num_train" --seed "$data_seed"
  # shellcheck disable=SC2086
  launch "$train_nj" steps/train_deep.py ${forced[@]+"${forced[@]}"} ${piped[@]+"${piped[@]}"} --train data/train --dev data/dev \
    --metric "$metric" --normaliser "$normaliser" --out "$exp" conf/deep.yaml --seed "$seed" --layerdrop "$layerdrop" $deep_opts
fi

stages_1_to_7
