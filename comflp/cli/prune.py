"""``comflp prune MODEL --data DIR --target params=50% --out DIR``: a smaller model in one command."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path
from typing import Any, Sequence

from comflp.budget import FORMS, parse_target, timed_batch_size
from comflp.cli.numbers import count, real, seed
from comflp.cli.options import add_metric, add_model_options, add_normaliser, load_model, parser
from comflp.cli.terminal import progress
from comflp.costs import quantity
from comflp.errors import ComflpError
from comflp.replacing import MODEL, check_place, check_replaceable
from comflp.stacks import depths_of


def run(arguments: Sequence[str]) -> None:
    """Prune, save, and show what came of it."""
    options = _options(arguments)
    out = Path(options.out)
    check_place(out)
    if out.exists() and not options.force:
        raise ComflpError(f"{out} is there already; give another --out, or --force to replace it")
    if out.exists() and not (out / "pruning.json").is_file():
        raise ComflpError(f"{out} is there already and was not made by comflp prune, so --force does not replace it; give another --out")
    check_replaceable(out, MODEL, options.force)
    from comflp.data.audio import AudioWarning
    from comflp.inference.measure_costs import costs_of
    from comflp.locks import working
    from comflp.pruning import prune

    warnings.simplefilter("ignore", AudioWarning)  # any rate and number of channels is welcome here
    with working(out) as work:
        model = load_model(options)
        targets = parse_target(options.target, depths_of(model.stacks)) if options.target is not None else []
        print(costs_of(model, timed_batch_size(targets), work / "costs.json").ceiling, flush=True)
        result = prune(
            model, options.data, options.target, options.repair, max_increase=options.max_increase, metric=options.metric,
            normaliser=options.normaliser, seed=options.seed, work=work, progress=progress, allow_pipes=options.allow_pipes,
        )
        result.model.origin["command"] = shlex.join(["comflp", "prune", *arguments])
        result.save(out, options.force)
    print("\n".join(screen(result, out)))


def screen(result: Any, out: Path) -> list[str]:
    """What the user is told at the end, a line each."""
    proposal, costs, model = result.proposal, result.costs, result.model
    depth = " + ".join(f"{number}" for number in costs.num_layers.values())
    standings = result.standings
    rows = [("removed", f"layers {proposal} ({proposal.num_removed} of {depth})")]
    if standings["deep"].error_rate is not None:
        rates = ", ".join(f"{standing.error_rate:.2f}% {name}" for name, standing in standings.items())
        rows.append((result.metric.upper(), f"{rates}; {result.num_held_out} utterances that no step has seen"))
    if tried := [step for step in result.history if step["step"] == "increase" and step["proposal"] == str(proposal)]:
        step, (low, high) = tried[-1], tried[-1]["interval"]
        fitted = f", of which the repair was fitted on {step['num_fitted']}" if "repaired" in standings else ""
        rows.append(("increase", f"{step['increase']:.2f} points where {step['limit']:g} may be, 95% interval {low:.2f} to {high:.2f}; "
                                 f"{step['num_utterances']} utterances of the search{fitted}"))
    divergences = ", ".join(f"{s.divergence:.3f} {name}" for name, s in standings.items() if name != "deep")
    rows.append(("divergence", f"{divergences}; nats a {model.row} from the whole model, {result.num_held_out} utterances that no step has seen"))
    counts = {name: proposal.of(name).num_removed for name in costs.num_layers}
    before, left = costs.parameters.whole, model.num_parameters
    weights = costs.bytes.after(counts) / 1e6
    rows.append(("size", f"{quantity(before)} to {quantity(left)} parameters ({left / before:.0%}), "
                         f"{costs.bytes.whole / 1e6:.1f} to {weights:.1f} MB"))
    how = "multiply-adds" if costs.seconds is None else f"seconds ({costs.measured_on})"
    rows.append(("speed", f"{(costs.seconds or costs.multiply_adds).ratio(counts):.2f} times as fast, by {how}"))
    rows.append(("lies in", f"{out} (pruning.json: what each step found)"))
    rows.append(("load it", f"comflp.models.load({str(out)!r}); its README.md says how its own library does"))
    rows.append(("try it", f"comflp transcribe {shlex.quote(str(out))} FILE"))
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {text}" for name, text in rows]


def _options(arguments: Sequence[str]) -> Any:
    options = parser("prune", "Remove layers of a model until it reaches a target, and repair what is left.")
    add_model_options(options)
    options.add_argument("--data", required=True, help="speech: a Kaldi data directory, a .csv or .tsv table of paths (and texts), a .jsonl manifest, a "
                         "folder of audio files, or a saved datasets folder. Texts are not needed; with them candidates of CTC models are ranked by error rate")
    options.add_argument("--target", help=f"what the pruned model is to be: {FORMS.replace('%', '%%')}; "
                         "several with commas between them have to hold together (docs/targets.md); params=50%% if neither this nor --max-increase is given")
    options.add_argument("--max-increase", type=real(0, 1000), metavar="POINTS", help="instead of --target: the smallest model whose error rate is "
                         "at most so many percentage points above the whole model's; takes texts")
    options.add_argument("--out", required=True, help="directory of the pruned model; what is unfinished lies in .NAME.work beside it, "
                         "and the same command goes on from there")
    options.add_argument("--repair", type=count, default=256, help="number of utterances that the pruned model is repaired on; 0 for none")
    add_metric(options, "error rate, where there are texts")
    add_normaliser(options)
    options.add_argument("--seed", type=seed, default=0, help="seed for the random draws of utterances")
    options.add_argument("--allow-pipes", action="store_true", help="run the commands of wav.scp entries that are pipes")
    options.add_argument("--force", action="store_true", help="replace --out if it is there and an earlier comflp prune made it")
    return options.parse_args(arguments)
