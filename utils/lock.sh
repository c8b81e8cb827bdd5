#!/usr/bin/env bash
# lock.sh: one run at a time for one directory. Source it from bash.
#
#   lock_or_stop FILE DESCRIPTOR WHAT    takes the lock, or says who has it and exits with status 1
#   share_lock_or_stop FILE DESCRIPTOR WHAT   the same, but with others that share it
#   lock_and_wait FILE DESCRIPTOR WHAT   takes the lock, waiting for whoever has it
#   unlock DESCRIPTOR                    gives it back; the end of the process does too
#
# DESCRIPTOR is a free file descriptor number (3 to 9). The kernel holds the lock (flock) for as long as this
# shell, or a program that it started, is alive. So there is no stale lock: a killed run leaves none, and a
# stage that outlived its run.sh still keeps a second run away from the files that it writes.
# FILE names the holder: process, host, start time. It stays behind, and means nothing when nobody holds it.
# Processes that inherit no descriptor (of several processes, on other nodes) hold FILE.stages, those of a run that shares
# the lock FILE.shared.stages; local/lifetime.py opens it for each. Nobody takes FILE while one of them does.
# python3 takes the lock on the shell's descriptor: macOS has no flock command.

_lock_take() { # DESCRIPTOR wait|try|share FILE: 0 taken, 1 held by another, 3 not possible on this file system
  "${COMFLP_PYTHON:-python3}" - "$1" "$2" "$3" <<'PYTHON'
import errno, fcntl, os, sys

descriptor, mode, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
now = 0 if mode == "wait" else fcntl.LOCK_NB
try:
    fcntl.flock(descriptor, now | (fcntl.LOCK_SH if mode == "share" else fcntl.LOCK_EX))
    for stages in [name + ".stages"] + ([] if mode == "share" else [name + ".shared.stages"]):
        if os.path.exists(stages):
            with open(stages, "r+") as file:
                fcntl.flock(file, now | fcntl.LOCK_EX)
except KeyboardInterrupt:
    sys.exit(130)
except OSError as error:
    sys.exit(1 if error.errno in (errno.EAGAIN, errno.EACCES) else 3)
PYTHON
}

_lock_open() { # FILE DESCRIPTOR: to read and to write, without which NFS does not share a lock
  if ! mkdir -p "$(dirname "$1")" || ! eval "exec $2<>\"\$1\""; then
    printf 'lock: cannot write %s: give a directory that can be written to.\n' "$1" >&2
    exit 1
  fi
}

_lock_sign() { # FILE
  printf 'process %s on %s since %s\n' "$$" "$(hostname)" "$(date '+%Y-%m-%d %H:%M:%S')" >"$1"
}

_lock_unsupported() { # FILE WHAT
  printf 'lock: warning: the file system of %s has no locks; make sure that nothing else runs in %s.\n' "$1" "$2" >&2
}

lock_or_stop() { # FILE DESCRIPTOR WHAT
  _lock_now try "$@"
}

share_lock_or_stop() { # FILE DESCRIPTOR WHAT
  _lock_now share "$@"
}

_lock_now() { # try|share FILE DESCRIPTOR WHAT
  local status=0 how=$1
  shift
  _lock_open "$1" "$2"
  _lock_take "$2" "$how" "$1" || status=$?
  case $status in
    0) _lock_sign "$1" ;;
    1)
      printf 'lock: %s is in use by %s, or by a stage that it started and that still runs.\n' "$3" "$(cat "$1")" >&2
      printf 'lock: wait for it, end it, or give this run another directory.\n' >&2
      exit 1
      ;;
    3) _lock_unsupported "$1" "$3" ;;
    *) exit "$status" ;;
  esac
}

lock_and_wait() { # FILE DESCRIPTOR WHAT
  local status=0
  _lock_open "$1" "$2"
  _lock_take "$2" try "$1" || status=$?
  if [ "$status" -eq 1 ]; then
    printf 'lock: %s is in use by %s; waiting for it.\n' "$3" "$(cat "$1")" >&2
    status=0
    _lock_take "$2" wait "$1" || status=$?
  fi
  case $status in
    0) _lock_sign "$1" ;;
    3) _lock_unsupported "$1" "$3" ;;
    *) exit "$status" ;;
  esac
}

unlock() { # DESCRIPTOR
  eval "exec $1>&-"
}
