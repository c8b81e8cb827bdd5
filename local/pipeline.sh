#!/usr/bin/env bash
# pipeline.sh: stages 1 to 7, which all recipes share. Source it from a run.sh: `. steps/pipeline.sh`.
#
# A run.sh has options, sources this file, names its experiment (exp), calls begin_experiment, does its own stage 0, and
# calls stages_1_to_7. What it may set besides its options:
#   report_title, report_note   of the report (stage 7)
#   finetune_config             the configuration of stage 5, conf/finetune.yaml unless set
# Options that not every recipe has: data_seed, valid_draw, target, refine_by, max_seconds, padded_mean, precision, trust_hyperparams, allow_pipes, refine_utterances, num_random.
# shellcheck disable=SC2154  # the options are run.sh's
. utils/common.sh
. utils/lock.sh

trusted=() # --trust-hyperparams, for every script that loads a model
if [ "${trust_hyperparams:-false}" = true ]; then trusted=(--trust-hyperparams); fi

begin_experiment() { # locks the experiment and makes it known to what follows; runs of stage 5 alone share the lock
  local take=lock_or_stop shared=
  refuse_unsearched
  if [ "$stage" -eq 5 ] && [ "$stop_stage" -eq 5 ]; then # which locks each result that it trains
    take=share_lock_or_stop
    shared=.shared
  fi
  trap 'log_failure $?' EXIT
  if is_first_node; then "$take" "$exp/.lock" 9 "recipes/$(basename "$PWD")/$exp"; fi
  export COMFLP_LOCK=$PWD/$exp/.lock$shared # which every process that is started from here holds too (local/lifetime.py)
}

prepare_data() { # OPTION...: data/, by the recipe's own local/prepare.sh with these options; one run at a time, of all experiments
  if is_first_node; then lock_and_wait data/.lock 7 "recipes/$(basename "$PWD")/data"; fi
  on_first_node local/prepare.sh --force "$force" "$@"
  on_first_node python steps/select_subsets.py ${forced[@]+"${forced[@]}"} ${piped[@]+"${piped[@]}"} --valid-from "$valid_from" ${valid_draw:+--valid-draw "$valid_draw"} \
    --num-valid "$num_valid" --num-probe "$num_probe" --seed "${data_seed:-$seed}"
  if is_first_node; then unlock 7; fi
}

wanted() { # N: sets `wanted` to how many layers are to go, as stages 3 to 5 take it; --target says it for all of them
  wanted=(--num-prune "$1")
  if [ -n "${target:-}" ]; then wanted=(--target "$target"); fi
}

each_count() { # COUNTS: numbers of layers one by one, "4,6 8:10" as "4 6 8 9 10"; what is no number stays as it is written
  local word part
  for word in $1; do
    case $word in *=*) ;; *) word=${word//,/ } ;; esac
    for part in $word; do
      case $part in
        *[!0-9:]* | :* | *: | *:*:*) printf ' %s ' "$part" ;;
        *) if [ "${part%:*}" -gt "${part#*:}" ]; then printf ' %s ' "$part"; else printf ' %s ' $(seq "${part%:*}" "${part#*:}"); fi ;;
      esac
    done
  done
}

refuse() { # MESSAGE: what cannot be asked of run.sh
  printf 'run.sh: %s\n' "$*" >&2
  exit 2
}

refuse_unsearched() { # what stage 5 is to make of a search that stages 3 and 4 do not do is said before anything is made
  local n proposal known of named=
  if [ "$repair_candidates" = true ] && [ "$repair" = 0 ]; then
    refuse "--repair-candidates true repairs on the utterances of --repair, which is 0"
  fi
  for proposal in $(searched_proposals); do
    case $proposal in scratch* | deep | [0-9]* | *=*) continue ;; esac
    named=$proposal
    of=${proposal%_coarse}
    case " $measures $baselines " in
      *" ${of%_fine} "*) ;;
      *) if [ "$stage" -le 4 ] && [ "$stop_stage" -ge 5 ] && ! compgen -G "$exp/prune*/$proposal" >/dev/null; then
        refuse "--proposals: nothing is called $proposal; measures are $measures (each with _coarse or _fine), baselines $baselines"
      fi ;;
    esac
  done
  if [ -z "$named" ] || [ -n "${target:-}" ] || [ "$stage" -gt 3 ] || [ "$stop_stage" -lt 5 ]; then return; fi
  known=$(each_count "$num_prune")
  for n in $(each_count "$finetune_prune"); do
    if [ -d "$exp/prune$n" ]; then continue; fi # searched before
    case $n in
      *=*[:,]*) refuse "--finetune-prune $n is several numbers of layers; give them one by one, with a space between them" ;;
      *=*) continue ;;
    esac
    case $known in
      *=* | *" $n "*) ;;
      *:*) refuse "--num-prune $num_prune: a range has its smaller number first" ;;
      *) refuse "--finetune-prune $finetune_prune: no search is for $n layers; give it to --num-prune, which is $num_prune, too" ;;
    esac
  done
}

searched() { # NAME WORDS: of an option; of its default those alone whose measure or baseline is among what is searched
  local word of kept=
  if option_is_given "$1"; then
    kept=$2
  else
    for word in $2; do
      of=${word%_coarse}
      case " $measures $baselines scratch scratch_frontend deep " in
        *" ${of%_fine} "*) kept="$kept $word" ;;
      esac
    done
  fi
  printf %s "$kept"
}

searched_proposals() { # the proposals of stage 5; where the default names no measure that is searched, those are taken as it takes others
  local chosen kind measure
  chosen=$(searched proposals "$proposals")
  case $chosen in
    *_coarse* | *_fine*) ;;
    *) if ! option_is_given proposals; then
      for kind in coarse fine; do
        case $proposals in
          *_$kind*) for measure in $measures; do chosen="$chosen ${measure}_$kind"; done ;;
        esac
      done
    fi ;;
  esac
  printf %s "$chosen"
}

stages_1_to_7() {
  local measure n proposal reversed chosen seconds=() padded=() heard=() drawn=() wanted
  reversed=$(searched reverse_measures "$reverse_measures")
  chosen=$(searched_proposals)
  if [ -n "${max_seconds:-}" ]; then seconds=(--max-seconds "$max_seconds"); fi
  if [ -n "${refine_utterances:-}" ]; then # what whole pruned models are run on, in the coarse search and by the greedy baseline
    heard=(--refine-utterances "$refine_utterances")
    drawn=(--greedy-utterances "$refine_utterances")
  fi
  if [ -n "${num_random:-}" ]; then drawn+=(--num-random "$num_random"); fi
  if [ "${padded_mean:-}" = true ]; then padded=(--padded-mean); fi
  # what every stage takes that runs the model without training it
  local inference=(${forced[@]+"${forced[@]}"} ${trusted[@]+"${trusted[@]}"} ${piped[@]+"${piped[@]}"} ${seconds[@]+"${seconds[@]}"} --precision "${precision:-fp32}")

  if in_stage 1 "time-averaged output of every layer"; then
    launch "$nj" steps/stage1_dump_hidden_states.py ${inference[@]+"${inference[@]}"} ${padded[@]+"${padded[@]}"} \
      --model "$exp/deep" --data data/probe --measures "$measures" --out "$exp/hidden"
  fi

  if in_stage 2 "correlation between layers"; then
    for measure in $measures; do
      # shellcheck disable=SC2046
      launch "$nj" steps/stage2_correlation.py ${inference[@]+"${inference[@]}"} --hidden "$exp/hidden" \
        --model "$exp/deep" --data data/probe --measure "$measure" --seed "$seed" --out "$exp/correlation" \
        $(options_of "$measure" dc "$dc_opts" skip_kl "$skip_kl_opts")
    done
  fi

  if in_stage 3 "coarse search"; then
    wanted "$num_prune"
    for measure in $measures; do
      launch "$nj" steps/stage3_coarse_search.py ${inference[@]+"${inference[@]}"} --exp "$exp" \
        --measure "$measure" "${wanted[@]}" --method "$search" --beam-size "$beam_size" \
        --refine "$refine" ${refine_by:+--refine-by "$refine_by"} ${heard[@]+"${heard[@]}"} --model "$exp/deep" --data data/probe
    done
    for measure in $reversed; do
      launch "$nj" steps/stage3_coarse_search.py ${inference[@]+"${inference[@]}"} --exp "$exp" \
        --measure "$measure" --reverse "${wanted[@]}" --method "$search" --beam-size "$beam_size"
    done
  fi

  if in_stage 4 "fine search"; then
    local repaired=0
    wanted "$num_prune"
    if [ "$repair_candidates" = true ]; then repaired=$repair; fi
    launch "$nj" steps/stage4_fine_search.py ${inference[@]+"${inference[@]}"} --exp "$exp" --model "$exp/deep" \
      --data data/valid "${wanted[@]}" --measures "$measures" --reverse-measures "$reversed" \
      --baselines "$baselines" ${drawn[@]+"${drawn[@]}"} --metric "$metric" --normaliser "$normaliser" --seed "$seed" --repair-candidates "$repaired"
  fi

  if in_stage 5 "repair and fine-tuning"; then
    for n in ${target:-$(each_count "$finetune_prune")}; do # a target is one word
      wanted "$n"
      for proposal in $chosen; do
        # shellcheck disable=SC2086
        launch "$train_nj" steps/stage5_finetune.py ${forced[@]+"${forced[@]}"} ${trusted[@]+"${trusted[@]}"} ${piped[@]+"${piped[@]}"} \
          --exp "$exp" "${wanted[@]}" --proposal "$proposal" --repair "$repair" --metric "$metric" \
          --normaliser "$normaliser" --distill "$distill" --tag "$tag" "${finetune_config:-conf/finetune.yaml}" \
          --seed "$seed" $finetune_opts
      done
    done
  fi

  if in_stage 6 "decoding"; then
    launch "$nj" steps/stage6_decode.py ${inference[@]+"${inference[@]}"} --exp "$exp" --data "$decode_sets" --metric "$metric" \
      --normaliser "$normaliser"
  fi

  if in_stage 7 "report"; then
    on_first_node python steps/stage7_report.py ${forced[@]+"${forced[@]}"} --exp "$exp" --metric "$metric" --max-cer-increase "$max_cer_increase" \
      --title "$report_title" --note "$report_note" --run "./run.sh$(changed_options)"
  fi
}
