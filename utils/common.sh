#!/usr/bin/env bash
# common.sh: what every run.sh says and asks the same way. Source it: `. utils/common.sh`.

log() { # MESSAGE...: the time and the message, on stderr
  printf '%s %s\n' "$(date '+%H:%M:%S')" "$*" >&2
}

in_stage() { # NUMBER: true when this run includes that stage (the script's options stage and stop_stage)
  # shellcheck disable=SC2154
  [ "$stage" -le "$1" ] && [ "$1" -le "$stop_stage" ]
}

fill_in_options() { # CONFIG: gives every option that is empty the value that CONFIG's recipe_options have for it
  local filled name value
  filled=$(python steps/recipe_options.py "$1")
  while IFS=$'\t' read -r name value; do
    if [ -z "${!name}" ]; then printf -v "$name" %s "$value"; fi
  done <<<"$filled"
}

options_of() { # WANTED [NAME OPTIONS]...: the options of the name that is wanted, nothing where it has none
  local wanted=$1
  shift
  while [ "$#" -gt 1 ]; do
    if [ "$1" = "$wanted" ]; then printf %s "$2"; fi
    shift 2
  done
}

launch() { # PROCESSES SCRIPT ARGUMENT...: a stage, as cmd.sh says, in so many processes
  local processes=$1
  shift
  if [ "$processes" -gt 1 ]; then set -- steps/launch.py --standalone --nproc-per-node "$processes" "$@"; fi
  # shellcheck disable=SC2154,SC2086  # cmd is words: a command and its options
  $cmd python "$@"
}
