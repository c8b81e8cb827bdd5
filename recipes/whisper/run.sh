#!/usr/bin/env bash
# Layer pruning of Whisper: which layers of its encoder and of its decoder can go, together.
#
# Nothing is trained and no GPU is needed: README.md says what each stage takes. The speech is
# some two hundred prompts of a telephone exchange, read by one person a language.
#
#   ./run.sh                                   openai/whisper-base, Italian
#   ./run.sh --language es --model openai/whisper-small
#   ./run.sh --model DIR --language it --corpus DIR    your model, your data directories train, dev and test
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
train_nj=1                # processes (GPUs) on each node of stage 5
num_nodes=1               # nodes that share the work (docs/cluster.md); start this command on each of them
node_rank=0               # number of this node, from 0
rdzv_endpoint=            # HOST:PORT where the nodes meet: node 0 and a free port of it
# data (stage 0)
language=it               # which language the model is to recognise; without a corpus: it, es or en
corpus=                   # [path] folder with the Kaldi data directories train, dev and test, or of the prompts; empty: downloaded
allow_pipes=false         # run the commands of wav.scp entries that are pipes, of data directories of your own
num_dev=20                # prompts of data/dev
num_test=40               # prompts of data/test; the others are data/train
valid_from=dev            # set that the fine search's utterances come from: dev or test
num_valid=20              # utterances of the fine search
num_probe=48              # training utterances that the layers are compared on, and that pruned models are repaired with
# the deep model (stage 0)
model=openai/whisper-base # a model directory or a hub name
context_seconds=0         # pad utterances to so many seconds and not to 30: faster, an approximation that every result names; 0: 30
name=                     # name of the experiment, exp/<name>; empty: the last part of the model's name, the language and the context
# the search (stages 1 to 4)
measures="skip_kl dc"     # measures to search by: skip_kl (docs/measures.md), dc and svcca as in the paper, ...
reverse_measures=         # measures whose worst candidates are decoded too
dc_opts=                  # options of dc, such as "--batch-size 32 --num-batch 16"
skip_kl_opts="--num-utterances 8 --max-block 3" # options of skip_kl
num_prune="encoder=0:1+decoder=0:1" # layers to remove of each stack: numbers, lists 1,3 or ranges 0:2, in every combination
target=                   # instead of num_prune and finetune_prune, what the pruned model is to be: params=50%, speedup=1.5, ... (docs/targets.md)
search=exact              # coarse search: exact, or beam as in the paper
beam_size=3               # K, candidates of the coarse search
refine=20                 # skip_kl only: run this many of the best joint proposals whole and keep the K best; 0: off
refine_by=repair          # what these are ordered by: repair, what a quick repair of the best leaves, kl+text, their divergence and what the best write, or kl (docs/measures.md)
refine_utterances=8       # utterances that they are run on
baselines="top spaced greedy random" # proposals to compare with: top bottom middle uniform spaced greedy random reverse
num_random=1              # proposals that random draws
metric=wer                # error rate of searches and scores: cer or wer
normaliser=basic          # before errors are counted: none, basic (small letters, no punctuation) or english (numbers too)
max_seconds=600           # seconds of audio in a batch of stages 1 to 4 and 6, padding to 30 s an utterance included: 20 utterances
# repair, decoding, report (stages 5 to 7)
repair=48                 # utterances of data/probe that pruned models are repaired with; 0: off (docs/repair.md)
repair_candidates=false   # stage 4 repairs all candidates as well, before it decodes them
finetune_prune="decoder=1 encoder=1 encoder=1+decoder=1" # what of num_prune is pruned and repaired, one or several
proposals=skip_kl_coarse  # whose proposals: these (README.md says why not skip_kl_fine), dc_coarse greedy top random encoder=3+decoder=2 ..., one or several
distill=none              # also learn from the deep model where models are trained: none, or ctc, its posteriors of tokens; only: from these alone, without texts
finetune_opts=            # "--number_of_epochs 2" trains the repaired models, which they are not otherwise; other changes to conf/finetune.yaml, as "--key value ..."
tag=                      # added to the names of stage 5's results
decode_sets="dev test"    # data sets to decode, folders of data/
max_cer_increase=3.0      # how many percentage points worse than the deep model the recommended model may be
seed=1234                 # seed for all random draws
# end of options
. utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. steps/pipeline.sh

to_folder model
shorter=
if [ "$context_seconds" != 0 ]; then shorter=-${context_seconds}s; fi
exp=exp/${name:-$(basename "$model")-$language$shorter}
report_title="Layer pruning of $(basename "$model")"
report_note="Prompts read by one person (language: $language), or your own corpus; texts are compared after the normaliser '$normaliser'."
if [ "$context_seconds" != 0 ]; then
  report_note="$report_note An approximation: utterances are padded to $context_seconds s, and the model was trained on 30 s."
fi
begin_experiment

if in_stage 0 "data preparation and the deep model"; then
  prepare_data --corpus "$corpus" --language "$language" --num-dev "$num_dev" \
    --allow-pipes "$allow_pipes" --num-test "$num_test" --longest "$([ "$context_seconds" = 0 ] && echo 30 || echo "$context_seconds")" --seed "$seed"
  on_first_node python steps/fetch_model.py ${forced[@]+"${forced[@]}"} --model "$model" --language "$language" \
    --context-seconds "$context_seconds" --out "$exp"
fi

stages_1_to_7
