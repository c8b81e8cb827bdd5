"""README.md of a saved model: which layers went, where it came from, how to load it, what it scored."""

from __future__ import annotations

from typing import Any

from comflp.models.layered import LayeredModel

_LABELS = {
    "data": "Data",
    "seed": "Seed",
    "command": "Command",
}
"""Facts with a line of their own, in this order; any other fact follows under its own name."""


def model_card(model: LayeredModel) -> str:
    """Markdown model card of ``model``: what its ``origin`` says.

    That is its source, its pruning steps, whatever else was put there, and the facts under ``training``: ``metric``
    ("cer" or "wer") with ``error_rate`` and ``error_rate_before`` fine-tuning (percent), ``data`` (what it was scored
    or trained on), ``seed``, ``command``, or anything else. A fact that is None is left out.
    """
    told = {**model.origin, **model.origin.get("training", {}), "training": None}
    facts = {key: value for key, value in told.items() if value is not None}
    source, pruning = facts.pop("source", None), facts.pop("pruning", [])
    tags = ["automatic-speech-recognition", "ctc", "comflp", *(["layer-pruning"] if pruning else [])]
    lines = ["---", "tags:", *(f"- {tag}" for tag in tags), "---", ""]
    lines += ["# Layer-pruned CTC speech recognition model" if pruning else "# CTC speech recognition model", ""]
    lines += [f"{model.num_layers} encoder layers, {model.num_parameters:,} parameters, {model.sample_rate} Hz audio."]
    if source:
        lines += ["", f"Made from: {source}"]
    if pruning:
        lines += ["", "## Pruning", "", "Layers removed with CoMFLP, counted from 1 in the model that each step started from:"]
        lines += ["", "| step | layers before | removed |", "|---|---|---|"]
        lines += [f"| {i} | {step['num_layers']} | {step['removed']} |" for i, step in enumerate(pruning, start=1)]
        lines += [_repaired(i, step["repair"]) for i, step in enumerate(pruning, start=1) if "repair" in step]
    lines += _results(facts)
    lines += ["", "## Use", "", "```python", "import comflp.models", "", 'model = comflp.models.load("path/to/this/directory")']
    lines += ["```", ""]
    lines += [model.library_note] if model.library_note else []
    return "\n".join(lines)


def _repaired(step: int, done: dict[str, Any]) -> str:
    """What the repair after a pruning step did."""
    return (
        f"\nAfter step {step} the model was repaired in closed form, without labels and without training: "
        f"{len(done['refitted'])} linear maps refitted on {done['utterances']:,} utterances ({done['frames']:,} frames), "
        f"{len(done['kept'])} kept as they were. Its divergence from the model before the step, on utterances that no fit "
        f"has seen, went from {done['divergence'][0]:.3g} to {done['divergence'][1]:.3g} nats."
    )


def _results(facts: dict[str, Any]) -> list[str]:
    rows = []
    metric = str(facts.pop("metric", "error rate")).upper()
    for key, what in (("error_rate_before", f"{metric} before fine-tuning"), ("error_rate", metric)):
        if key in facts:
            rows.append(f"- {what}: {facts.pop(key):.2f}%")
    rows += [f"- {label}: {facts.pop(key)}" for key, label in _LABELS.items() if key in facts]
    rows += [f"- {key.replace('_', ' ')}: {value}" for key, value in facts.items()]
    return ["", "## Facts", "", *rows] if rows else []
