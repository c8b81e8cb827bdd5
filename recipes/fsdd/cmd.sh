#!/usr/bin/env bash
# Sourced by run.sh: what stages 1, 4, 5 and 6 are started with. Empty: they run here. On a Slurm cluster, for example:
#   export cmd="srun --ntasks=1 --gpus=2 --cpus-per-task=16 --mem=64G"
# together with ./run.sh --nj 2, which shares the utterances of stages 1, 4 and 6 over two processes of that job.
export cmd=
