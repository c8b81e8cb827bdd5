#!/usr/bin/env bash
# setup_env.sh: the Python environment of this repository. Source it from bash: `. utils/setup_env.sh`.
#
# When the active environment has comflp installed, that one is used. Otherwise <repository>/.venv is: made on first
# use with the versions in constraints.txt, and made whole again when it was left half-made or when setup.py or
# constraints.txt has changed. Afterwards `python` is the environment's, and COMFLP_ROOT is the repository.
#
# Needs python3 >= 3.10 with its venv module, and a network for the first run: 6.2 GB, most of it CUDA's libraries.
#   COMFLP_PYTHON=/path/to/python3   another Python
#   COMFLP_TORCH=cpu                 PyTorch without CUDA, 1.7 GB; where an index that pip knows has such wheels
# A script that needs more than the recipes do says so before it sources this file: COMFLP_EXTRAS=test.

if [ "$0" = "${BASH_SOURCE[0]}" ] && [ "${1:-}" = --help ]; then # run by itself by somebody who wants to know what it does
  sed -n -e 1d -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
  exit 0
fi

unset CDPATH # with it cd may go, and print, elsewhere
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

_setup_cpu_version() { # PIP PACKAGE: its version with CPU wheels, that of constraints.txt if there is one; nothing when none is known
  local pinned found
  pinned=$(sed -n "s/^$2==\([^ ;]*\).*/\1+cpu/p" "$COMFLP_ROOT/constraints.txt")
  found=$("$1" -m pip index versions "$2" 2>/dev/null | tr -s ' ,:' '\n' | grep '+cpu$' || true)
  if printf '%s\n' "$found" | grep -qxF "$pinned"; then printf '%s\n' "$pinned"; else printf '%s\n' "$found" | sed -n 1p; fi
}

_setup_install_torch() { # PIP CONSTRAINTS: PyTorch for the CPU, before everything that needs it; the versions go to CONSTRAINTS
  local torch audio library
  torch=$(_setup_cpu_version "$1" torch)
  if [ -z "$torch" ]; then
    _setup_say "COMFLP_TORCH=cpu: no index that pip knows has wheels of torch for the CPU. Name one that has them with" \
      "PIP_EXTRA_INDEX_URL, or leave COMFLP_TORCH out."
    return 1
  fi
  audio=$(_setup_cpu_version "$1" torchaudio)
  { grep -v -e '^torch==' "$COMFLP_ROOT/constraints.txt" && printf 'torch==%s\n' "$torch"; } >"$2"
  if [ -n "$audio" ]; then
    { grep -v -e '^torchaudio==' "$2" && printf 'torchaudio==%s\n' "$audio"; } >"$2.more" && mv "$2.more" "$2"
  fi
  _setup_say "PyTorch $torch"
  "$1" -m pip install --quiet --disable-pip-version-check --constraint "$2" torch torchaudio >&2 || return 1
  if [ -z "$audio" ]; then # its compiled part needs CUDA; torchaudio does without it, and nothing here uses it
    for library in "${1%/bin/python}"/lib/python3*/site-packages/torchaudio/lib/*.so; do rm -f "$library"; done
  fi
}

_setup_install() { # PYTHON VENV STAMP KIND EXTRAS
  local constraints=$COMFLP_ROOT/constraints.txt
  if [ -f "$2/stamp" ] && [ "$(sed 's/^[^ ]* //' "$2/stamp")" != "${3#* }" ]; then
    _setup_say "$2 is for another Python or another place: making it anew."
    rm -rf "$2"
  elif [ "$(cat "$2/torch" 2>/dev/null || printf %s "$4")" != "$4" ]; then
    _setup_say "$2 has PyTorch for another processor: making it anew."
    rm -rf "$2"
  fi
  rm -f "$2/stamp" "$2/extras"
  if [ "$4" = cpu ]; then
    _setup_say "installing comflp and what it needs into $2 (1.7 GB, some minutes, once)"
  else
    _setup_say "installing comflp and what it needs into $2 (6.2 GB with CUDA's libraries, some minutes, once;" \
      "COMFLP_TORCH=cpu makes it 1.7 GB)"
  fi
  _setup_forget_half_installed "$2"
  "$1" -m venv "$2" || return 1
  printf '%s\n' "$4" >"$2/torch"
  if [ "$4" = cpu ] && [ "$(uname -s)" = Linux ]; then # elsewhere PyTorch has no CUDA anyway
    constraints=$2/constraints.txt
    _setup_install_torch "$2/bin/python" "$constraints" || return 1
  fi
  "$2/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$constraints" \
    --editable "${COMFLP_ROOT}[synthetic,export${5:+,$5}]" >&2 || return 1
  "$2/bin/python" -c 'import torch, speechbrain, transformers' || return 1
  printf '%s\n' "$5" >"$2/extras"
  printf '%s\n' "$3" >"$2/.tmp-stamp" && mv "$2/.tmp-stamp" "$2/stamp"
}

_setup_is_ready() { # VENV STAMP KIND EXTRAS: whether the environment is whole and has what is wanted
  [ "$(cat "$1/stamp" 2>/dev/null)" = "$2" ] && [ "$(cat "$1/torch")" = "$3" ] &&
    { [ -z "$4" ] || [ "$(cat "$1/extras")" = "$4" ]; }
}

_setup_own_environment() {
  local python=${COMFLP_PYTHON:-python3} venv=$COMFLP_ROOT/.venv stamp kind extras=${COMFLP_EXTRAS:-}
  kind=${COMFLP_TORCH:-$(cat "$venv/torch" 2>/dev/null || printf default)}
  case $kind in
    cpu | default) ;;
    *)
      _setup_say "COMFLP_TORCH is $kind, and it can be cpu or default"
      exit 1
      ;;
  esac
  _setup_check_python "$python"
  stamp=$(_setup_stamp "$python")
  if ! _setup_is_ready "$venv" "$stamp" "$kind" "$extras"; then
    lock_and_wait "$COMFLP_ROOT/.venv.lock" 8 "$venv"
    if ! _setup_is_ready "$venv" "$stamp" "$kind" "$extras"; then # else the one that we waited for has made it
      if ! _setup_install "$python" "$venv" "$stamp" "$kind" "$extras" </dev/null; then
        _setup_say "could not finish $venv: the reason is above. Run the same command again to go on from here."
        exit 1
      fi
      _setup_say "$venv is ready"
    fi
    unlock 8
  fi
  export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
}

if [ -n "${COMFLP_EXTRAS:-}" ] && [ "$(command -v python)" = "$COMFLP_ROOT/.venv/bin/python" ]; then
  _setup_own_environment # it is active, and may not have the extras
else
  _setup_active_environment || _setup_own_environment
fi
