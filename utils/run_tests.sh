#!/usr/bin/env bash
# Runs the tests, two at a time; everything given on the command line goes to pytest.
#
#   bash utils/run_tests.sh                        all tests
#   bash utils/run_tests.sh tests/test_proposal.py one file
#   bash utils/run_tests.sh --cov                  with the coverage of comflp
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."
COMFLP_EXTRAS="test" # beside what the recipes need
. utils/setup_env.sh
export PYTHONUTF8=1 OMP_NUM_THREADS=1
exec python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
