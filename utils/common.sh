#!/usr/bin/env bash
# common.sh: what every run.sh says and asks the same way. Source it: `. utils/common.sh`.
#
# It uses called_from, the options stage, stop_stage, num_nodes, node_rank and rdzv_endpoint of run.sh, the cmd of cmd.sh, and exp,
# the experiment's directory. While a stage runs, COMFLP_LOG names its log file, exp/<model>/log/stage<N>.log, which the
# Python scripts add to whatever they show, progress bars left out (local/cli.py).
# shellcheck disable=SC2154  # these are set by the script that sources this one

log() { # MESSAGE...: the time and the message, on stderr and in the stage's log file
  local line
  line="$(date '+%H:%M:%S') $*"
  printf '%s\n' "$line" >&2
  if [ -n "${COMFLP_LOG:-}" ]; then _add_to_log "$line"; fi
}

_add_to_log() { # LINE: a log that cannot be written ends the run; said here, because bash goes on after a failure inside `if in_stage`
  local reason file=$COMFLP_LOG
  if ! reason=$({ printf '%s\n' "$1" >>"$file"; } 2>&1); then
    unset COMFLP_LOG
    printf '%s\n' "run.sh: error: the log file $file cannot be written (${reason##*: }); the run ends here" >&2
    exit 1
  fi
}

in_stage() { # NUMBER TITLE: true when this run includes that stage; then its title is said and its log file opened
  if [ "$stage" -gt "$1" ] || [ "$1" -gt "$stop_stage" ]; then return 1; fi
  mkdir -p "$exp/log" 2>/dev/null || true # what keeps the folder from being made keeps the log from being written
  export COMFLP_LOG=$PWD/$exp/log/stage$1.log
  _add_to_log "# $(date '+%Y-%m-%d'), $(hostname)"
  log "stage $1: $2"
}

log_failure() { # STATUS: the last line of a stage's log file when the run ends in the middle; for `trap ... EXIT`
  if [ "$1" -ne 0 ] && [ -n "${COMFLP_LOG:-}" ]; then
    _add_to_log "$(date '+%H:%M:%S') the run ended here with exit status $1"
  fi
}

fill_in_options() { # CONFIG: gives every option that was not given the value that CONFIG's recipe_options have for it
  local _filled _filled_name _filled_value
  _filled=$(python steps/recipe_options.py "$1")
  while IFS=$'\t' read -r _filled_name _filled_value; do
    if ! option_is_given "$_filled_name"; then
      printf -v "$_filled_name" %s "$_filled_value"
    elif [ "$_filled_value" = true ] || [ "$_filled_value" = false ]; then
      _options_check_switch "--$(printf %s "$_filled_name" | tr _ -)" "${!_filled_name}"
    fi
  done <<<"$_filled"
}

to_folder() { # VARIABLE: the folder that it names, as typed where run.sh was called, by its path from the root; a name on the hub stays
  printf -v "$1" %s "$(cd "$called_from" && if [ -d "${!1}" ]; then cd "${!1}" && pwd; else printf %s "${!1}"; fi)"
}

options_of() { # WANTED [NAME OPTIONS]...: the options of the name that is wanted, nothing where it has none
  local wanted=$1
  shift
  while [ "$#" -gt 1 ]; do
    if [ "$1" = "$wanted" ]; then printf %s "$2"; fi
    shift 2
  done
}

is_first_node() { # true in the one run.sh, of those started on several nodes, that does what is done once
  local rank=$node_rank
  if [ "$num_nodes" -eq 1 ] && [ "${SLURM_STEP_NUM_TASKS:-1}" -gt 1 ]; then rank=$SLURM_PROCID; fi # srun started run.sh
  [ "$rank" -eq 0 ]
}

on_first_node() { # COMMAND ARGUMENT...: runs it here, on the first node only
  if is_first_node; then "$@"; fi
}

launch() { # PROCESSES SCRIPT ARGUMENT...: a stage that runs the model, as cmd.sh says, in so many processes a node
  local processes=$1 call=1 nodes=()
  shift
  if [ "$num_nodes" -gt 1 ]; then
    nodes=(--nnodes "$num_nodes" --node-rank "$node_rank" --rdzv-endpoint "$rdzv_endpoint")
  fi
  set -- python steps/launch.py ${nodes[@]+"${nodes[@]}"} --nproc-per-node "$processes" "$@"
  # cmd is words: a command and its options
  case ${cmd%% *} in
    *.pl) # Kaldi's run.pl, slurm.pl, queue.pl, ...: they want a log file first, and some pass nothing on but PATH
      until (set -o noclobber && : >"${COMFLP_LOG%.log}.$call.log") 2>/dev/null; do # another run may take the same number
        if [ ! -e "${COMFLP_LOG%.log}.$call.log" ]; then break; fi                  # the command says why it cannot be written
        call=$((call + 1))
      done
      # shellcheck disable=SC2086
      $cmd "${COMFLP_LOG%.log}.$call.log" env COMFLP_LOCK="${COMFLP_LOCK:-}" COMFLP_LOG="$COMFLP_LOG" "$@"
      ;;
    *)
      # shellcheck disable=SC2086
      $cmd "$@"
      ;;
  esac
}
