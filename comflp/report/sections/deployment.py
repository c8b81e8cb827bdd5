"""What the models cost on a device: benchmarks/deploy.py and local/export.py."""

from __future__ import annotations

from comflp.report.charts import horizontal_bars
from comflp.report.collect import Experiment
from comflp.report.document import Column, Figure, Section, Table
from comflp.report.names import label

_FORMATS = {"torch": "PyTorch", "torch_int8": "PyTorch int8", "onnx": "ONNX", "onnx_int8": "ONNX int8"}


def section(experiment: Experiment, metric: str) -> Section:
    """Size, memory, multiply-adds and speed of every model and format; what each export's accuracy is."""
    figures, tables, text, missing = [], [], [], []
    if experiment.deployment:
        about = experiment.deployment
        rows, threads = about["rows"], [str(count) for count in about["threads"]]
        deep = next((row for row in rows if row["path"] == "deep" and row["format"] == "torch"), None)
        columns = [
            Column("Model"), Column("Format"), Column("Layers", "d"), Column("Parameters", ",d"), Column("MB on disk", ".2f"),
            Column("Peak memory (MB)", ".0f"), Column("Multiply-adds a second of audio (M)", ",.0f"),
            *(Column(f"RTF, {count} thread" + ("s" if count != "1" else ""), ".4f") for count in threads),
            Column("Speed-up", ".2f"),
        ]
        tables.append(Table("deployment", columns, [
            (model_label(experiment, row["path"]), _FORMATS[row["format"]], row["num_layers"], row["num_parameters"], row["megabytes"],
             row["peak_megabytes"], _millions(row["multiply_adds_per_second"]), *(row["rtf"][count] for count in threads),
             deep["rtf"][threads[0]] / row["rtf"][threads[0]] if deep else None)
            for row in rows
        ]))
        speeds = {f"{model_label(experiment, row['path'])}, {_FORMATS[row['format']]}": row["rtf"][threads[0]] for row in rows}
        figures.append(Figure("deployment", horizontal_bars("deployment", speeds, "real-time factor, one thread",
                                                            "real-time factor of each model", "teal"), "Shorter is faster."))
        text.append(
            f"Measured on {about['device']}: {about['num_utterances']} utterances ({about['audio_seconds']:.0f} s) one at a time, "
            f"median of {about['runs']} runs taken in turns. Speed-up is against the deep model on one thread. Peak memory "
            f"is of a whole process; Python, PyTorch and this library by themselves take {about['baseline_megabytes']:.0f} MB."
        )
    else:
        missing.append("Speed and memory have not been measured: `python benchmarks/deploy.py --exp EXP --data data/test` does.")
    exported = [(path, form, entry) for path, (_, _, model) in experiment.models.items() for form, entry in model.exports.items()]
    if exported:
        text.append("Exports are checked on real utterances, one at a time: how many texts equal those of the float model in "
                    f"PyTorch, and the {metric} of both.")
        columns = [Column("Model"), Column("Format"), Column("MB on disk", ".2f"), Column("Utterances", "d"), Column("Same text", "d"),
                   Column(f"{metric}, PyTorch", ".2f"), Column(metric, ".2f"), Column("Cost", "+.2f")]
        tables.append(Table("exports", columns, [
            (model_label(experiment, path), _FORMATS[form], entry["megabytes"], entry["num_utterances"],
             entry["same_texts"], entry["reference_error_rate"], entry["error_rate"],
             entry["error_rate"] - entry["reference_error_rate"])
            for path, form, entry in exported
        ], "Exports"))
    else:
        missing.append("Nothing has been exported: `python local/export.py --model EXP/prune6/dc_fine/finetuned --data data/test` "
                       "writes ONNX and int8 forms.")
    return Section("deployment", "On a device", text, figures, tables, missing)


def model_label(experiment: Experiment, path: str) -> str:
    """The written name of a model directory inside the experiment, such as ``DC, fine, N=6`` or ``Top drop, N=6, pruned``."""
    run, state, _ = experiment.models.get(path, (None, path, None))
    if run is None:
        return "Deep model" if state == "deep" else state
    settings = run.settings if state == "fine-tuned" else None
    return f"{label(run.name, settings)}, N={run.num_prune}{'' if state == 'fine-tuned' else f', {state}'}"


def _millions(value: float | None) -> float | None:
    return None if value is None else value / 1e6
