#!/usr/bin/env bash
# Checks a Kaldi data directory and explains every fault with file and line; exit status 1 when there is one.
#
#   utils/validate_data_dir.sh [--no-text] [--allow-pipes] [--check-audio] DIR
#
# Checked: every file's lines and ids, that wav.scp, segments, text, utt2spk, spk2utt and utt2dur agree, that the audio
# files are there and as long as their headers and utt2dur say. --check-audio also reads all of them to the end.
# Paths in wav.scp that are relative start from the folder that this is called in.
set -euo pipefail
unset CDPATH
tools=$(cd -P "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=utils/setup_env.sh
. "$tools/setup_env.sh"
export PYTHONPATH="$COMFLP_ROOT:$COMFLP_ROOT/local${PYTHONPATH:+:$PYTHONPATH}"
exec python "$tools/validate_data_dir.py" "$@"
