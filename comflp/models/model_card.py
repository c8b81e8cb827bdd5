"""README.md of a saved model: which layers went, where it came from, how to load it, what it scored."""

from __future__ import annotations

from typing import Any, Mapping

from huggingface_hub import EvalResult, ModelCardData

from comflp.models.layered import LayeredModel
from comflp.models.published import hub_name
from comflp.record import versions
from comflp.stacks import depth_in_words

_TASK = "automatic-speech-recognition"

_LABELS = {
    "data": "Data",
    "seed": "Seed",
    "command": "Command",
}
"""Facts with a line of their own, in this order; any other fact follows under its own name."""


def model_card(model: LayeredModel) -> str:
    """Markdown model card of ``model``: what its ``origin`` says, with the header that the Hugging Face hub reads.

    That is its source and what the source's card says (``published``), its pruning steps, whatever else was put there, and
    the facts under ``training``: ``metric`` ("cer" or "wer") with ``error_rate`` and ``error_rate_before`` fine-tuning
    (percent), ``data`` (what it was scored or trained on), ``seed``, ``command``, or anything else. A fact that is None is
    left out.
    """
    told = {**model.origin, **model.origin.get("training", {}), "training": None, "published": None}
    facts = {key: value for key, value in told.items() if value is not None}
    lines = ["---", _header(model, facts).to_yaml(), "---", ""]
    source, pruning = facts.pop("source", None), facts.pop("pruning", [])
    kind = "Speech" if model.teacher_forced else "CTC speech"
    lines += [f"# Layer-pruned {kind} recognition model" if pruning else f"# {kind} recognition model", ""]
    depth = ", ".join(f"{stack.num_layers} {name} layers" for name, stack in model.stacks.items())
    lines += [f"{depth}, {model.num_parameters:,} parameters, {model.sample_rate} Hz audio."]
    if source:
        lines += ["", f"Made from: {source}"]
    if pruning:
        lines += ["", "## Pruning", "", "Layers removed with CoMFLP, counted from 1 in the model that each step started from:"]
        lines += ["", "| step | layers before | removed |", "|---|---|---|"]
        lines += [f"| {i} | {depth_in_words(step['num_layers'])} | {step['removed']} |" for i, step in enumerate(pruning, start=1)]
        lines += [_repaired(i, step["repair"]) for i, step in enumerate(pruning, start=1) if "repair" in step]
    lines += _results(facts)
    lines += ["", "Written with " + ", ".join(f"{name} {version}" for name, version in versions().items()) + "."]
    lines += ["", "## Use", "", "```python", "import comflp.models", "", 'model = comflp.models.load("path/to/this/directory")']
    lines += ["```", ""]
    lines += [model.library_note] if model.library_note else []
    return "\n".join(lines)


def lasting_origin(origin: Mapping[str, Any]) -> dict[str, Any]:
    """An origin without the facts under ``training``: they are of these weights alone, and a program that trains on copies what config.json says."""
    return {key: value for key, value in origin.items() if key != "training"}


def _last_name(source: object, model: LayeredModel) -> str:
    """The name of a repository or directory without what it lies in; the family's where ``source`` is a sentence or nothing."""
    name = str(source or "").split("/")[-1]
    return model.family if not name or " " in str(source) else name


def _header(model: LayeredModel, facts: Mapping[str, Any]) -> ModelCardData:
    """What programs read of a card. Error rates are named with the data that they are of."""
    metric, rate = facts.get("metric"), facts.get("error_rate")
    source, language = hub_name(facts.get("source")), getattr(model, "language", None)
    scores = [] if metric is None or rate is None else [
        EvalResult(_TASK, str(facts.get("scored_on", "dev")), str(facts.get("data", "dev")), metric, round(rate, 4))
    ]
    ctc = [] if model.teacher_forced else ["ctc"]
    return ModelCardData(
        model_name=_last_name(source or facts.get("source"), model) + ("-pruned" if "pruning" in facts else ""),
        library_name=model.library_name,
        pipeline_tag=_TASK,
        base_model=source,
        metrics=[metric] if scores else None,
        eval_results=scores or None,
        tags=[_TASK, *ctc, "comflp", *(["layer-pruning"] if "pruning" in facts else [])],
        **{**({"language": language} if language else {}), **model.origin.get("published", {})},
    )


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
