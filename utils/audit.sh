#!/usr/bin/env bash
# Reports which of the pinned packages (constraints.txt) have known vulnerabilities, by pip-audit. Needs a network.
#
# pip-audit gets an environment of its own, for the time of the report; nothing of the project is changed.
# Exit status: 0 when none is known or the packages could not be looked up (the report says which), 1 when one is.
set -euo pipefail
called_from=$PWD
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# options
# end of options
. utils/parse_options.sh
. utils/setup_env.sh

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m venv "$folder/venv"
if ! "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pip-audit 2>/dev/null; then
  printf 'audit: pip-audit could not be installed (no network?); nothing was looked up\n' >&2
  exit 0
fi
status=0
"$folder/venv/bin/pip-audit" --requirement constraints.txt --no-deps --disable-pip --progress-spinner off \
  >"$folder/report" 2>"$folder/log" || status=$?
unknown=$(grep -c 'could not be audited' "$folder/report" || true)
grep -v 'could not be audited' "$folder/report" | sed '/^Name *Skip Reason/d;/^-* *-*$/d' || true
if [ ! -s "$folder/report" ]; then cat "$folder/log" >&2; fi
printf 'audit: %s of %s pinned packages were looked up\n' \
  "$(($(grep -c == constraints.txt) - unknown))" "$(grep -c == constraints.txt)" >&2
exit "$status"
