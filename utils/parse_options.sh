#!/usr/bin/env bash
# parse_options.sh: the options of a script, read from the command line. Source it: `. utils/parse_options.sh`.
#
# The script has, between the lines `# options` and `# end of options`, one option a line:
#     name=default   # help text
# The command line is `--name value`, with dashes for underscores. A default of true or false makes an option that
# takes only these. A help text that begins with [path] makes a path: given on the command line and relative, it
# starts from the directory that the script was called from, which a script that changes directory keeps before in
# `called_from=$PWD`. stage and stop_stage are numbers from 0 to 7. A comment line in the block is a heading in --help.
#
# --help prints the comment at the top of the script and every option with its default. Everything that is not an
# option with a value is an error, said on stderr, exit status 2.

_options_script=${BASH_SOURCE[1]}
if [ -n "${called_from:-}" ] && [ "${_options_script#/}" = "$_options_script" ]; then # the script has changed directory
  _options_script=$called_from/$_options_script
fi

_options_fail() {
  printf '%s: %s (--help lists the options)\n' "${_options_script##*/}" "$*" >&2
  exit 2
}

_options_block() { # the lines of the option block
  sed -n '/^# options$/,/^# end of options$/p' "$_options_script" | sed '1d;$d'
}

_options_line() { # NAME: its line in the block; fails when there is no such option
  _options_block | grep "^$1="
}

_options_help() {
  local line name
  sed -n -e 1d -e '/^#/!q' -e 's/^# \{0,1\}//p' "$_options_script"
  printf '\nOptions:\n'
  _options_block | while IFS= read -r line; do
    case $line in
      '') ;;
      '#'*) printf '\n  %s\n' "${line#\# }" ;;
      *)
        name=${line%%=*}
        line=${line#* \# }
        printf '  --%-22s %s [%s]\n' "$(printf %s "$name" | tr _ -)" "${line#\[path\] }" "${!name}"
        ;;
    esac
  done
}

_options_check_stage() { # NAME
  case ${!1} in
    [0-7]) ;;
    *) _options_fail "--$(printf %s "$1" | tr _ -) is ${!1}, and the stages are 0 to 7" ;;
  esac
}

for _options_word in "$@"; do # before any option is set, so that the defaults shown are the script's
  case $_options_word in
    --help | -h)
      _options_help
      exit 0
      ;;
  esac
done

while [ $# -gt 0 ]; do
  case $1 in
    --*=*) _options_fail "no option $1: write the value after a space, ${1%%=*} ${1#*=}" ;;
    --*) ;;
    *) _options_fail "what is '$1'? Options are written as --name value" ;;
  esac
  _options_name=$(printf %s "${1#--}" | tr - _)
  case $_options_name in
    '' | *[!a-z0-9_]*) _options_fail "no option $1" ;;
  esac
  _options_text=$(_options_line "$_options_name") || _options_fail "no option $1"
  if [ $# -lt 2 ]; then
    _options_fail "$1 needs a value"
  fi
  case $2 in
    --*' '*) ;; # options to be passed on, as one value
    --*) _options_fail "$1 needs a value, and $2 follows it" ;;
  esac
  _options_value=$2
  case ${_options_text#* \# } in
    '[path]'*)
      case $_options_value in
        '' | /*) ;;
        *) _options_value=${called_from:-$PWD}/$_options_value ;;
      esac
      ;;
  esac
  case $(_options_default=${_options_text#*=} && printf %s "${_options_default%% *}") in
    true | false)
      case $_options_value in
        true | false) ;;
        *) _options_fail "$1 is true or false, not '$_options_value'" ;;
      esac
      ;;
  esac
  printf -v "$_options_name" %s "$_options_value"
  shift 2
done

if _options_line stage >/dev/null; then
  _options_check_stage stage
  _options_check_stage stop_stage
  # shellcheck disable=SC2154  # the script sets both in its option block
  if [ "$stage" -gt "$stop_stage" ]; then
    _options_fail "--stage $stage comes after --stop-stage $stop_stage: nothing would run"
  fi
fi
