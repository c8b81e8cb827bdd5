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
# changed_options prints the options that differ from their defaults, for a script that says how it is run again;
# option_is_given NAME tells whether one was typed, or stands in a configuration.
#
# A script with the option force has the array `forced` afterwards: --force, for every program that makes something, or nothing.
#
# --help prints the comment at the top of the script and every option with its default. Everything that is not an
# option with a value is an error, said on stderr, exit status 2.

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
  local default=${_options_text#*=}
  case ${default%% *} in
    true | false) ;;
    *) return 1 ;;
  esac
}

_options_set() { # WORD VALUE FOLDER: the value of the option that was found; a relative path starts from FOLDER
  local value=$2
  case ${_options_text#* \# } in
    '[path]'*)
      case $value in
        '' | /*) ;;
        *) value=$3/$value ;;
      esac
      ;;
  esac
  if _options_is_switch; then
    case $value in
      true | false) ;;
      *) _options_fail "$1 is true or false, not '$value'" ;;
    esac
  fi
  printf -v "$_options_name" %s "$value"
  _options_given="$_options_given $_options_name "
}

_options_unquoted() { # TEXT: a value of a configuration without its quotes, or without a comment after it
  printf %s "$1" | sed -E 's/^[[:space:]]*=?[[:space:]]*//' | sed -E -e 's/^"([^"]*)"[[:space:]]*(#.*)?$/\1/' -e t \
    -e "s/^'([^']*)'[[:space:]]*(#.*)?\$/\\1/" -e t -e 's/(^|[[:space:]])#.*$//' -e 's/[[:space:]]*$//'
}

_options_configure() { # FILE: options of a configuration
  local file=$1 folder line word value number=0
  case $file in
    /*) ;;
    *) file=${called_from:-$PWD}/$file ;;
  esac
  if [ ! -f "$file" ] || [ ! -r "$file" ]; then _options_fail "--config $1 is not a file that can be read"; fi
  folder=$(cd "$(dirname "$file")" && pwd)
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    _options_place="$1:$number: "
    line=$(printf %s "$line" | sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e '/^#/d')
    case $line in
      '') continue ;;
      --*) ;;
      [a-z]*=*) line=--$line ;;
      *) _options_fail "what is '$line'? Options are written as name=value or --name value" ;;
    esac
    word=${line%%[=[:space:]]*}
    _options_find "$(printf %s "$word" | tr _ -)"
    if [ "$line" != "$word" ]; then
      value=$(_options_unquoted "${line#"$word"}")
    elif _options_is_switch; then
      value=true
    else
      _options_fail "$word needs a value"
    fi
    _options_set "$word" "$value" "$folder"
  done <"$file"
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

changed_options() { # the options that differ from their defaults, as words of a command line; not which stages are run, and not --force
  local pair name
  for pair in "${_options_defaults[@]}"; do
    name=${pair%%=*}
    case $name in
      stage | stop_stage | force) ;;
      *) if [ "${!name}" != "${pair#*=}" ]; then printf ' --%s %s' "$(printf %s "$name" | tr _ -)" "$(_options_quoted "${!name}")"; fi ;;
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

# shellcheck disable=SC2034,SC2154  # the script's: forced is for it, force is from its option block
if _options_line force >/dev/null; then
  forced=()
  if [ "$force" = true ]; then forced=(--force); fi
fi

if _options_line stage >/dev/null; then
  _options_check_stage stage
  _options_check_stage stop_stage
  # shellcheck disable=SC2154  # the script sets both in its option block
  if [ "$stage" -gt "$stop_stage" ]; then
    _options_fail "--stage $stage comes after --stop-stage $stop_stage: nothing would run"
  fi
fi
