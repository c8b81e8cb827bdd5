#!/usr/bin/env bash
# setup_env.sh: the Python environment of this repository. Source it from bash: `. utils/setup_env.sh`.
#
# When the active environment has comflp installed, that one is used. Otherwise <repository>/.venv is: made on first
# use with the versions in constraints.txt, and made whole again when it was left half-made or when setup.py or
# constraints.txt has changed. Afterwards `python` is the environment's, and COMFLP_ROOT is the repository.
#
# Needs python3 >= 3.10 with its venv module, and a network for the first run. COMFLP_PYTHON names another python3.

COMFLP_ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export COMFLP_ROOT
# shellcheck source=utils/lock.sh
. "$COMFLP_ROOT/utils/lock.sh"

_setup_say() { printf 'setup_env: %s\n' "$*" >&2; }

_setup_active_environment() { # true when `python` has comflp installed, and not only because we stand in its folder
  (cd / && unset PYTHONPATH && python -c 'import importlib.metadata as m; m.version("comflp")') >/dev/null 2>&1
}

_setup_check_python() { # PYTHON: stops with what is wrong with it
  if ! command -v "$1" >/dev/null 2>&1; then
    _setup_say "no $1 found: install Python 3.10 or newer, or name one with COMFLP_PYTHON=/path/to/python3."
    exit 1
  fi
  if ! "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    _setup_say "$1 is $("$1" -V 2>&1), and Python 3.10 or newer is needed: name one with COMFLP_PYTHON=/path/to/python3."
    exit 1
  fi
  if ! "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    _setup_say "$1 has no venv module: install it (Debian and Ubuntu: apt-get install python3-venv), or name another" \
      "Python with COMFLP_PYTHON=/path/to/python3."
    exit 1
  fi
}

_setup_stamp() { # PYTHON: a line that changes whenever the environment has to be made anew
  "$1" - "$COMFLP_ROOT" <<'PYTHON'
import hashlib, pathlib, sys

root = pathlib.Path(sys.argv[1])
digest = hashlib.sha256()
for name in ("setup.py", "constraints.txt"):
    digest.update((root / name).read_bytes())
print(digest.hexdigest(), "python%d.%d" % sys.version_info[:2], root)
PYTHON
}

_setup_forget_half_installed() { # VENV: pip takes a package whose unpacking was cut off for installed; this makes it look again
  local metadata
  for metadata in "$1"/lib/python3*/site-packages/*.dist-info; do
    if [ -d "$metadata" ] && [ ! -f "$metadata/INSTALLER" ]; then # pip writes INSTALLER after the last file
      _setup_say "removing the half-installed ${metadata##*/}"
      rm -rf "$metadata"
    fi
  done
}

_setup_install() { # PYTHON VENV STAMP
  if [ -f "$2/stamp" ] && [ "$(sed 's/^[^ ]* //' "$2/stamp")" != "${3#* }" ]; then
    _setup_say "$2 is for another Python or another place: making it anew."
    rm -rf "$2"
  fi
  rm -f "$2/stamp"
  _setup_say "installing comflp and what it needs into $2 (some minutes, once)"
  _setup_forget_half_installed "$2"
  "$1" -m venv "$2" || return 1
  "$2/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$COMFLP_ROOT/constraints.txt" \
    --editable "${COMFLP_ROOT}[test,synthetic,export]" >&2 || return 1
  "$2/bin/python" -c 'import torch, speechbrain, transformers' || return 1
  printf '%s\n' "$3" >"$2/.tmp-stamp" && mv "$2/.tmp-stamp" "$2/stamp"
}

_setup_own_environment() {
  local python=${COMFLP_PYTHON:-python3} venv=$COMFLP_ROOT/.venv stamp
  _setup_check_python "$python"
  stamp=$(_setup_stamp "$python")
  if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    lock_and_wait "$COMFLP_ROOT/.venv.lock" 8 "$venv"
    if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then # else the one that we waited for has made it
      if ! _setup_install "$python" "$venv" "$stamp" </dev/null; then
        _setup_say "could not finish $venv: the reason is above. Run the same command again to go on from here."
        exit 1
      fi
      _setup_say "$venv is ready"
    fi
    unlock 8
  fi
  export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
}

_setup_active_environment || _setup_own_environment
