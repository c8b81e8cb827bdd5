#!/usr/bin/env bash
# The paper's own experiment: AISHELL-1 and the wav2vec 2.0 CTC models W2V2CTC-12 and W2V2CTC-24.
#
# Stages 0 to 4 and 6 run anywhere, stage 5 (50 epochs) wants a GPU: README.md
# says what each stage needs. conf/paper.yaml holds the paper's settings,
# conf/released.yaml those of its released code.
#
#   ./run.sh                                   W2V2CTC-12, 12 to 6 layers
#   ./run.sh --model w2v2ctc24 --num-prune 1:16 --finetune-prune 12
#   ./run.sh --model DIR-or-hub-name --corpus DIR
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
settings=paper            # paper or released: conf/<settings>.yaml fills in the options below that are empty
# data (stage 0)
corpus=                   # [path] folder that holds data_aishell/; empty: downloaded to downloads/ (15.6 GB)
check_counts=true         # warn when the sets do not have the published numbers of utterances
valid_from=               # set that the fine search's utterances come from: dev or test
valid_draw=               # how they are drawn: random or first
num_valid=                # utterances of the fine search
num_probe=                # training utterances that the layers are compared on
# the deep model (stage 0)
model=w2v2ctc12           # w2v2ctc12, w2v2ctc24, a model directory or a hub name
name=                     # name of the experiment, exp/<name>; empty: the last part of the model's name
trust_hyperparams=false   # allow a SpeechBrain model's hyperparams.yaml, which can run code
# the search (stages 1 to 4)
padded_mean=              # true: average over padded frames too, as the released code does
measures=                 # measures to search by: dc and svcca as in the paper, skip_kl (docs/measures.md), ...
reverse_measures=         # measures whose worst candidates are decoded too (rev. of Fig. 2)
dc_opts=                  # options of dc; "--batch-size 32 --num-batch 16" is its steadier setting (benchmarks/README.md)
skip_kl_opts=             # options of skip_kl, such as "--num-utterances 32 --max-block 2"
num_prune=1:8             # N, layers to remove: a number, a list 4,6,8 or a range 1:8
target=                   # instead of num_prune and finetune_prune, what the pruned model is to be: params=50%, speedup=1.5, ... (docs/targets.md)
search=                   # coarse search: beam as in the paper, or exact
beam_size=                # K, candidates of the coarse search
refine=100                # skip measures only: run the best 100 as whole pruned models (more, where that is not enough); 0: off
refine_by=                # what these are ordered by: near+text, kl, ctc or repair (docs/measures.md), of models other than CTC kl+text, kl or repair; empty: the first of these
baselines="top glp random" # proposals to compare with: top bottom middle uniform spaced random reverse glp greedy linear_probe
metric=cer                # error rate of searches and scores: cer or wer
normaliser=none           # before errors are counted: none, basic (small letters, no punctuation) or english (numbers too)
max_seconds=160           # seconds of audio in a batch of stages 1 to 4 and 6, padding included; less if memory is short
# repair, fine-tuning, decoding, report (stages 5 to 7)
repair=0                 # utterances of data/probe that pruned models are repaired with before training; 0: off, as in the paper
repair_candidates=false  # stage 4 repairs all candidates as well, before it decodes them
finetune_prune=6          # N of the models to fine-tune, one or several, as in num_prune
proposals="scratch top glp dc_coarse svcca_coarse dc_fine svcca_fine" # what to fine-tune: the rows of Table 1
distill=none              # also learn from the deep model: none, ctc, hidden or both; only: from it alone, without texts
finetune_opts=            # changes to conf/<settings>.yaml, as "--key value ..."
tag=                      # added to the names of stage 5's results, to keep several ways of fine-tuning
decode_sets="dev test"    # data sets to decode, folders of data/
max_cer_increase=1.0      # how many percentage points worse than the deep model the recommended model may be
seed=1234                 # seed for all random draws and training
# end of options
. utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. steps/pipeline.sh

fill_in_options "conf/$settings.yaml"
case $model in
  w2v2ctc12) source=kehanlu/mandarin-wav2vec2-aishell1 ;;
  w2v2ctc24) source=qinyue/wav2vec2-large-xlsr-53-chinese-zn-cn-aishell1 ;;
  *)
    to_folder model
    source=$model
    ;;
esac
to_folder source # of the hub's models too, where they lie in a folder of that name
exp=exp/${name:-$(basename "$model")}
finetune_config=conf/$settings.yaml
report_title="Layer pruning on AISHELL-1"
report_note="Settings: conf/$settings.yaml; the fine search's utterances are from $valid_from."
begin_experiment

if in_stage 0 "data preparation and the deep model"; then
  prepare_data --corpus "$corpus" --check-counts "$check_counts"
  on_first_node python steps/fetch_model.py ${forced[@]+"${forced[@]}"} ${trusted[@]+"${trusted[@]}"} --model "$source" --out "$exp"
fi

stages_1_to_7
