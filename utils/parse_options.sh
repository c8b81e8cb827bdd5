#!/usr/bin/env bash
# parse_options.sh: the options of a script, read from the command line. Source it: `. utils/parse_options.sh`.
#
# The script has, between the lines `# options` and `# end of options`, one option a line:
#     name=default   # help text
# The command line is `--name value`, with dashes for underscores. A default of true or false makes an option that
# takes only these, and `--name` alone means true. A help text that begins with [path] makes a path. stage and
# stop_stage are numbers from 0 to 7. A comment line in the block is a heading in --help.
#
# --config FILE reads options from a file, a line each, written `name=value` or `--name value`, with or without quotes
# around the value and with comments after #. It is read as text, never run. The command line wins.
#
# A relative path on the command line starts from the directory that the script was called from, which a script that
# changes directory keeps before in `called_from=$PWD`; a relative path in a configuration starts from that file's folder.
#
# changed_options prints the options that were given and differ from their defaults, for a script that says how it is run again;
# option_is_given NAME tells whether one was typed, or stands in a configuration.
#
# With the options num_nodes and node_rank, these are numbers, the second below the first.
#
# A script with the option force has the array `forced` afterwards: --force, for every program that makes something, or nothing;
# one with allow_pipes has `piped`: --allow-pipes, for every program that reads data directories.
#
# --help prints the comment at the top of the script and every option with its default. Everything that is not an
# option with a value is an error, said on stderr, exit status 2.

unset CDPATH # with it cd may go, and print, elsewhere
_options_script=${BASH_SOURCE[1]}
if [ -n "${called_from:-}" ] && [ "${_options_script#/}" = "$_options_script" ]; then # the script has changed directory
  _options_script=$called_from/$_options_script
fi
_options_given= # the names of the options that were set
_options_place= # where the option in hand stands: FILE:LINE: of a configuration, nothing for the command line

_options_fail() {
  printf '%s: %s%s (--help lists the options)\n' "${_options_script##*/}" "$_options_place" "$*" >&2
  exit 2
}

_options_block() { # the lines of the option block
  sed -n '/^# options$/,/^# end of options$/p' "$_options_script" | sed '1d;$d'
}

_options_line() { # NAME: its line in the block; fails when there is no such option
  _options_block | grep "^$1="
}

_options_help() {
  local _options_row _options_shown
  sed -n -e 1d -e '/^#/!q' -e 's/^# \{0,1\}//p' "$_options_script"
  if [ -z "$(_options_block)" ]; then return; fi # a script that has none
  printf '\nOptions:\n'
  _options_block | while IFS= read -r _options_row; do
    case $_options_row in
      '') ;;
      '#'*) printf '\n  %s\n' "${_options_row#\# }" ;;
      *)
        _options_shown=${_options_row%%=*}
        _options_row=${_options_row#* \# }
        printf '  --%-22s %s [%s]\n' "$(printf %s "$_options_shown" | tr _ -)" "${_options_row#\[path\] }" "${!_options_shown}"
        ;;
    esac
  done
  printf '\n  --%-22s %s\n' config "file with options, a line each: name=value or --name value; the command line wins"
}

_options_check_stage() { # NAME
  case ${!1} in
    [0-7]) ;;
    *) _options_fail "--$(printf %s "$1" | tr _ -) is ${!1}, and the stages are 0 to 7" ;;
  esac
}

_options_find() { # WORD: sets _options_name and _options_text to the option that --name means, or fails
  _options_name=$(printf %s "${1#--}" | tr - _)
  case $_options_name in
    '' | *[!a-z0-9_]*) _options_fail "no option $1" ;;
  esac
  _options_text=$(_options_line "$_options_name") || _options_fail "no option $1"
}

_options_is_switch() { # whether the option that was found is true or false
  local _options_default=${_options_text#*=}
  case ${_options_default%% *} in
    true | false) ;;
    *) return 1 ;;
  esac
}

_options_check_switch() { # WORD VALUE
  case $2 in
    true | false) ;;
    *) _options_fail "$1 is true or false, not '$2'" ;;
  esac
}

_options_set() { # WORD VALUE FOLDER: the value of the option that was found; a relative path starts from FOLDER
  local _options_new=$2 # a local variable named like an option would take its place
  case ${_options_text#* \# } in
    '[path]'*)
      case $_options_new in
        '' | /*) ;;
        *) _options_new=$3/$_options_new ;;
      esac
      ;;
  esac
  if _options_is_switch; then _options_check_switch "$1" "$_options_new"; fi
  printf -v "$_options_name" %s "$_options_new"
  _options_given="$_options_given $_options_name "
}

_options_unquoted() { # TEXT: a value of a configuration without its quotes, or without a comment after it
  printf %s "$1" | sed -E 's/^[[:space:]]*=?[[:space:]]*//' | sed -E -e 's/^"([^"]*)"[[:space:]]*(#.*)?$/\1/' -e t \
    -e "s/^'([^']*)'[[:space:]]*(#.*)?\$/\\1/" -e t -e 's/(^|[[:space:]])#.*$//' -e 's/[[:space:]]*$//'
}

_options_configure() { # FILE: options of a configuration
  local _options_file=$1 _options_folder _options_row _options_first _options_new _options_number=0
  case $_options_file in
    /*) ;;
    *) _options_file=${called_from:-$PWD}/$_options_file ;;
  esac
  if [ ! -f "$_options_file" ] || [ ! -r "$_options_file" ]; then _options_fail "--config $1 is not a file that can be read"; fi
  _options_folder=$(cd "$(dirname "$_options_file")" && pwd)
  while IFS= read -r _options_row || [ -n "$_options_row" ]; do
    _options_number=$((_options_number + 1))
    _options_place="$1:$_options_number: "
    _options_row=${_options_row#$'\xef\xbb\xbf'} # the mark that some editors put before the first line
    _options_row=$(printf %s "$_options_row" | sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e '/^#/d')
    case $_options_row in
      '') continue ;;
      --*) ;;
      [a-z]*=*) _options_row=--$_options_row ;;
      *) _options_fail "what is '$_options_row'? Options are written as name=value or --name value" ;;
    esac
    _options_first=${_options_row%%[=[:space:]]*}
    _options_find "$(printf %s "$_options_first" | tr _ -)"
    if [ "$_options_row" != "$_options_first" ]; then
      _options_new=$(_options_unquoted "${_options_row#"$_options_first"}")
    elif _options_is_switch; then
      _options_new=true
    else
      _options_fail "$_options_first needs a value"
    fi
    _options_set "$_options_first" "$_options_new" "$_options_folder"
  done <"$_options_file"
  _options_place=
}

_options_defaults=() # name=default of every option, to tell what was changed
while IFS= read -r _options_text; do
  case $_options_text in
    [a-z]*=*)
      _options_name=${_options_text%%=*}
      _options_defaults+=("$_options_name=${!_options_name}")
      ;;
  esac
done < <(_options_block)

_options_quoted() { # VALUE: as a word of a command line, in single quotes where it needs some; letters of any language stay
  case $1 in
    "" | *[[:space:]\'\"\$\\\`\;\&\|\<\>\(\)\*\?\!\#\~\[\{]*) printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")" ;;
    *) printf %s "$1" ;;
  esac
}

option_is_given() { # NAME
  case $_options_given in
    *" $1 "*) ;;
    *) return 1 ;;
  esac
}

changed_options() { # the options that were given, but for those that have their defaults, which stages are run, and --force, as words of a command line
  local _options_pair _options_shown
  for _options_pair in "${_options_defaults[@]}"; do
    _options_shown=${_options_pair%%=*}
    case $_options_shown in
      stage | stop_stage | force) ;;
      *) if option_is_given "$_options_shown" && [ "${!_options_shown}" != "${_options_pair#*=}" ]; then
        printf ' --%s %s' "$(printf %s "$_options_shown" | tr _ -)" "$(_options_quoted "${!_options_shown}")"
      fi ;;
    esac
  done
}

for _options_word in "$@"; do # before any option is set, so that the defaults shown are the script's
  case $_options_word in
    --help | -h)
      _options_help
      exit 0
      ;;
  esac
done

for _options_pass in configuration command_line; do # so that the command line wins, wherever --config stands on it
  _options_left=("$@")
  while [ ${#_options_left[@]} -gt 0 ]; do
    _options_word=${_options_left[0]}
    case $_options_word in
      --*=*) _options_fail "no option $_options_word: write the value after a space, ${_options_word%%=*} ${_options_word#*=}" ;;
      --*) ;;
      *) _options_fail "what is '$_options_word'? Options are written as --name value" ;;
    esac
    if [ "$_options_word" = --config ]; then _options_text="config= # "; else _options_find "$_options_word"; fi
    _options_used=2
    if [ ${#_options_left[@]} -lt 2 ]; then
      _options_value=
      _options_used=1
    else
      _options_value=${_options_left[1]}
      case $_options_value in
        --*' '*) ;; # options to be passed on, as one value
        --*) _options_used=1 ;;
      esac
    fi
    if [ "$_options_used" -eq 1 ]; then
      if _options_is_switch; then
        _options_value=true
      elif [ -z "$_options_value" ]; then
        _options_fail "$_options_word needs a value"
      else
        _options_fail "$_options_word needs a value, and $_options_value follows it"
      fi
    fi
    if [ "$_options_word" = --config ]; then
      if [ "$_options_pass" = configuration ]; then _options_configure "$_options_value"; fi
    elif [ "$_options_pass" = command_line ]; then
      _options_set "$_options_word" "$_options_value" "${called_from:-$PWD}"
    fi
    _options_left=(${_options_left[@]+"${_options_left[@]:$_options_used}"})
  done
done

# shellcheck disable=SC2034,SC2154  # the script's: forced and piped are for it, force and allow_pipes are from its option block
if _options_line force >/dev/null; then
  forced=()
  if [ "$force" = true ]; then forced=(--force); fi
fi
# shellcheck disable=SC2034,SC2154
if _options_line allow_pipes >/dev/null; then
  piped=()
  if [ "$allow_pipes" = true ]; then piped=(--allow-pipes); fi
fi

if _options_line stage >/dev/null; then
  _options_check_stage stage
  _options_check_stage stop_stage
  # shellcheck disable=SC2154  # the script sets both in its option block
  if [ "$stage" -gt "$stop_stage" ]; then
    _options_fail "--stage $stage comes after --stop-stage $stop_stage: nothing would run"
  fi
fi

# shellcheck disable=SC2154  # num_nodes and node_rank are the script's
if _options_line num_nodes >/dev/null; then
  case $num_nodes:$node_rank in
    *[!0-9:]* | 0* | :* | *:) _options_fail "--num-nodes $num_nodes --node-rank $node_rank: give two numbers, of nodes and of this one, from 0" ;;
  esac
  if [ "$node_rank" -ge "$num_nodes" ]; then
    _options_fail "--node-rank $node_rank: nodes are numbered from 0, and there are $num_nodes (--num-nodes)"
  fi
fi
