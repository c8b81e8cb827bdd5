#!/usr/bin/env bash
# Sourced by run.sh and by the scripts in local/: the Python environment, made on first use, and the text settings.
. utils/setup_env.sh
export PYTHONPATH="$COMFLP_ROOT:$COMFLP_ROOT/local${PYTHONPATH:+:$PYTHONPATH}" # the comflp of this repository, and what its scripts share
export PYTHONUTF8=1 PYTHONIOENCODING=utf-8 LC_ALL=C         # UTF-8 text, sorted by bytes as Kaldi's files are
