"""What the models cost on a device: benchmarks/deploy.py and local/export.py."""

from __future__ import annotations

from comflp.costs import Costs, ModelCosts
from comflp.report.collect import Experiment
from comflp.report.document import Column, Section, Table, Text
from comflp.report.names import label

_FORMATS = {"torch": "PyTorch", "torch_int8": "PyTorch int8", "onnx": "ONNX", "onnx_int8": "ONNX int8"}


def section(experiment: Experiment, metric: str) -> Section:
    """Speed, size, memory and multiply-adds of every model and format; what each export's accuracy is."""
    parts = []
    if experiment.deployment:
        about = experiment.deployment
        rows, threads = about["rows"], [str(count) for count in about["threads"]]
        deep = next((row for row in rows if row["path"] == "deep" and row["format"] == "torch"), None)
        columns = [
            Column("Model"), Column("Format"), Column("Times as fast as the deep model in PyTorch", ".2f"),
            *(Column(f"RTF, {count} thread" + ("s" if count != "1" else ""), ".4f") for count in threads),
            Column("MB on disk", ".2f"), Column("Peak MB", ".0f"), Column("Multiply-adds (M/s)", ",.0f"),
        ]
        parts.append(Text(
            f"Measured on {about['device']}: {about['num_utterances']} utterances ({about['audio_seconds']:.0f} s) one at a time, "
            f"median of {about['runs']} runs taken in turns. RTF is seconds for a second of audio. Peak memory "
            f"is of a whole process; Python, PyTorch and this library by themselves take {about['baseline_megabytes']:.0f} MB."
        ))
        parts.append(Table("deployment", columns, [
            (model_label(experiment, row["path"]), _FORMATS.get(row["format"], row["format"]),
             deep["rtf"][threads[0]] / row["rtf"][threads[0]] if deep else None, *(row["rtf"][count] for count in threads),
             row["megabytes"], row["peak_megabytes"], _millions(row["multiply_adds_per_second"]))
            for row in rows
        ]))
        parts.append(Table("deployment_conditions", [Column("Utterances", "d"), Column("Seconds", ".0f"), Column("Runs", "d"), Column("MB of imports", ".0f")],
                           [(about["num_utterances"], about["audio_seconds"], about["runs"], about["baseline_megabytes"])]))
    else:
        parts.append(Text("Speed and memory have not been measured: `benchmarks/deploy.py` does.", missing=True))
    if experiment.costs and experiment.costs.seconds:
        parts.append(_parts(experiment.costs, experiment.costs.seconds))
    exported = [(path, form, entry) for path, (_, _, model) in experiment.models.items() for form, entry in model.exports.items()]
    if exported:
        parts.append(Text("Exports are checked on real utterances in their own runtime: how many texts equal those of the float model in "
                          f"PyTorch, and the {metric} of both."))
        columns = [Column("Model"), Column("Format"), Column(f"{metric} (%)", ".2f"), Column(f"{metric}, PyTorch (%)", ".2f"),
                   Column("Same text", "d"), Column("of", "d"), Column("RTF, 1 thread", ".4f"), Column("MB on disk", ".2f"),
                   Column("Peak MB", ".0f"), Column("Runtime")]
        parts.append(Table("exports", columns, [
            (model_label(experiment, path), _FORMATS.get(form, form), entry.get("error_rate"), entry.get("reference_error_rate"),
             entry.get("same_texts"), entry.get("num_utterances"), entry["rtf"].get("1") if isinstance(entry.get("rtf"), dict) else None,
             entry.get("megabytes"), entry.get("peak_megabytes"), f"{entry.get('runtime', '')} {entry.get('runtime_version', '')}".strip())
            for path, form, entry in exported
        ], "Exports"))
    else:
        parts.append(Text("Nothing has been exported: `local/export.py` writes ONNX and int8 forms.", missing=True))
    return Section("deployment", "On a device", parts)


def _parts(costs: ModelCosts, seconds: Costs) -> Table:
    """What the parts of the deep model take, by which a target ``speedup`` was resolved, and the machine."""
    rows = [("Whole model", seconds.whole), ("Before the first layer", seconds.front),
            *((f"One layer of the {stack}", taken) for stack, taken in seconds.layer.items())]
    columns = [Column("Part of the deep model"), Column("Milliseconds for a second of audio", ".2f"), Column("Measured on")]
    return Table("seconds_of_parts", columns, [(part, None if taken is None else 1000 * taken, costs.measured_on) for part, taken in rows],
                 "Seconds of the parts, by which --target speedup counts")


def model_label(experiment: Experiment, path: str) -> str:
    """The written name of a model directory inside the experiment, such as ``DC, fine, N=6`` or ``Top drop, N=6, pruned``."""
    run, state, _ = experiment.models.get(path, (None, path, None))
    if run is None:
        return "Deep model" if state == "deep" else state
    settings = run.settings if state == "fine-tuned" else None
    return f"{label(run.name, settings)}, N={run.counts}{'' if state == 'fine-tuned' else f', {state}'}"


def _millions(value: float | None) -> float | None:
    return None if value is None else value / 1e6
