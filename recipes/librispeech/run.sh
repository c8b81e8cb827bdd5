#!/usr/bin/env bash
# Layer pruning of the English CTC models that most people have, on LibriSpeech.
#
# Stages 0 to 4 and 6 run anywhere, stage 5 wants a GPU: README.md says what
# each stage needs. The error rate is WER; the text is the corpus' own.
#
#   ./run.sh                                   facebook/wav2vec2-base-960h, 12 to 6 layers
#   ./run.sh --model facebook/hubert-large-ls960-ft --num-prune 4,8,12 --finetune-prune 12
#   ./run.sh --model patrickvonplaten/wavlm-libri-clean-100h-base-plus --letter-case lower
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
train_nj=1                # processes (GPUs) on each node that train (stage 5) and share every batch
num_nodes=1               # nodes that share the work (docs/cluster.md); start this command on each of them
node_rank=0               # number of this node, from 0
rdzv_endpoint=            # HOST:PORT where the nodes meet: node 0 and a free port of it
# data (stage 0)
corpus=                   # [path] folder that holds LibriSpeech/; empty: downloaded to downloads/ (7.4 GB)
train_parts=train-clean-100 # parts of the corpus that make data/train, separated by spaces
letter_case=upper         # upper as in the corpus, or lower for models with lower-case letters
valid_from=dev            # set that the fine search's utterances come from: dev or test
num_valid=320             # utterances of the fine search
allow_pipes=false         # run the commands of wav.scp entries that are pipes, of data directories of your own
num_probe=9600            # training utterances that the layers are compared on
# the deep model (stage 0)
model=facebook/wav2vec2-base-960h # a model directory or a hub name
name=                     # name of the experiment, exp/<name>; empty: the last part of the model's name
trust_hyperparams=false   # allow a SpeechBrain model's hyperparams.yaml, which can run code
# the search (stages 1 to 4)
measures="dc svcca skip_kl" # measures to search by: dc and svcca as in the paper, skip_kl (docs/measures.md), ...
reverse_measures="dc svcca" # measures whose worst candidates are decoded too (rev. of Fig. 2)
dc_opts=                  # options of dc; "--batch-size 32 --num-batch 16" is its steadier setting (benchmarks/README.md)
skip_kl_opts=             # options of skip_kl, such as "--num-utterances 32 --max-block 2"
num_prune=1:8             # N, layers to remove: a number, a list 4,6,8 or a range 1:8
target=                   # instead of num_prune and finetune_prune, what the pruned model is to be: params=50%, speedup=1.5, ... (docs/targets.md)
search=exact              # coarse search: exact, or beam as in the paper
beam_size=10              # K, candidates of the coarse search
refine=100                # skip measures only: run the best 100 as whole pruned models (more, where that is not enough); 0: off
refine_by=                # what these are ordered by: near+text, kl, ctc or repair (docs/measures.md), of models other than CTC kl+text, kl or repair; empty: the first of these
baselines="top glp random" # proposals to compare with: top bottom middle uniform spaced random reverse glp greedy linear_probe
metric=wer                # error rate of searches and scores: cer or wer
normaliser=none           # before errors are counted: none, basic (small letters, no punctuation) or english (numbers too)
max_seconds=160           # seconds of audio in a batch of stages 1 to 4 and 6, padding included; less if memory is short
# repair, fine-tuning, decoding, report (stages 5 to 7)
repair=256               # utterances of data/probe that pruned models are repaired with before training; 0: off (docs/repair.md)
repair_candidates=false  # stage 4 repairs all candidates as well, before it decodes them
finetune_prune=6          # N of the models to fine-tune, one or several, as in num_prune
proposals=dc_fine         # what to fine-tune: dc_fine svcca_coarse glp top scratch deep 1,3-4,7 ...
distill=none              # also learn from the deep model: none, ctc, hidden or both; only: from it alone, without texts
finetune_opts=            # changes to conf/finetune.yaml, as "--key value ..."
tag=                      # added to the names of stage 5's results, to keep several ways of fine-tuning
decode_sets="dev test test_other" # data sets to decode, folders of data/
max_cer_increase=1.0      # how many percentage points worse than the deep model the recommended model may be
seed=1234                 # seed for all random draws and training
# end of options
. utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. steps/pipeline.sh

to_folder model
exp=exp/${name:-$(basename "$model")}
report_title="Layer pruning on LibriSpeech"
report_note="Fine-tuned on $train_parts; the fine search's utterances are from $valid_from."
begin_experiment

if in_stage 0 "data preparation and the deep model"; then
  prepare_data --corpus "$corpus" --train-parts "$train_parts" --letter-case "$letter_case"
  on_first_node python steps/fetch_model.py ${forced[@]+"${forced[@]}"} ${trusted[@]+"${trusted[@]}"} --model "$model" --out "$exp"
fi

stages_1_to_7
