#!/usr/bin/env bash
# Sourced by run.sh: what every stage that runs the model is started with. Empty: it runs here. On a Slurm cluster,
# for one node with two GPUs, together with ./run.sh --nj 2 --train-nj 2:
#   export cmd="srun --ntasks=1 --gpus=2 --cpus-per-task=16 --mem=64G"
# Kaldi's run.pl, slurm.pl and queue.pl are known too: export cmd="slurm.pl --gpu 2 --mem 64G". docs/cluster.md has more.
export cmd=
