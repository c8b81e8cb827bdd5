"""After any surgery: save, reload, forward, compare."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import torch

import comflp.models
from comflp.data.batching import AudioBatch
from comflp.data.data_dir import Utterance
from comflp.errors import ComflpError
from comflp.models.layered import LayeredModel
from comflp.stacks import depth_in_words, depth_of

_SECONDS = (1.0, 0.7)
"""Lengths of the two utterances of noise that the models are compared on; one is padded."""


def verify_saved(model: LayeredModel, directory: str | Path) -> None:
    """Load a saved model again and compare its logits with those of the model in memory.

    Two utterances of noise are run through both, in evaluation mode. Raises
    ComflpError when the layers of a stack differ in number or a logit is off by more than
    1e-4 of the largest logit; the directory is left for inspection.
    """
    device = model.device
    reloaded = comflp.models.load(directory, trust_hyperparams=True).to(device)
    depth, loaded = depth_of(model.stacks), depth_of(reloaded.stacks)
    if loaded != depth:
        raise ComflpError(f"{directory} holds a model of {depth_in_words(loaded)} layers, the one that was saved has {depth_in_words(depth)}")
    batch = _example(model, _SECONDS)
    training = model.training
    model.eval()
    with torch.no_grad():
        expected, found = model(batch), reloaded(batch)
    model.train(training)
    difference = (expected.logits - found.logits).abs().max() / expected.logits.abs().max()
    if not difference <= 1e-4:
        raise ComflpError(
            f"the model saved in {directory} does not compute what the one in memory does: its logits differ by "
            f"{difference:.2g} of the largest; do not use it, and report the model's kind"
        )


def refuse_unless_equal_to_library(model: LayeredModel, what: str) -> None:
    """Compare the pieces of a model with its library's own forward pass (``model.library_logits``) on a second of noise.

    A new version of a library may move things; then this is an error and never a wrong number. Raises ComflpError
    where a logit is off by more than 1e-3 of the range of the library's; what the library itself makes no finite
    logits of cannot be compared. what: names the model.
    """
    batch = _example(model, (1.0,))
    with torch.no_grad():
        try:
            expected = model.library_logits(batch)
        except (RuntimeError, ValueError) as error:  # what the library raises for inputs of another shape
            said = " ".join(str(error).split())[:300]
            raise ComflpError(
                f"{what}: its library fails on a second of noise ({said}); where that is about the shape of the input, the feature extractor "
                f"is not that of the model: put the preprocessor_config.json beside the weights that they were trained with"
            ) from error
        found = model(batch).logits
    if expected.shape == found.shape:
        difference = float((expected - found).abs().max() / (expected.max() - expected.min()).clamp_min(1e-30))
        fault = f"its logits differ by {difference:.2g} of their range"
        if difference <= 1e-3 or not torch.isfinite(expected).all():
            return
    else:
        fault = f"its logits have the shape {tuple(found.shape)} and not {tuple(expected.shape)}"
    raise ComflpError(
        f"{what}: run layer by layer, the model does not compute what the forward pass of its library does ({fault}); "
        f"this version of the library ({_versions()}) is not supported for this family"
    )


def _example(model: LayeredModel, seconds: tuple[float, ...]) -> AudioBatch:
    """Noise of these lengths, with tokens drawn at random where a decoder reads some."""
    batch = noise_batch(model.sample_rate, seconds)
    if model.teacher_forced:
        batch = batch.with_targets(model.example_targets(len(seconds)))
    return batch.to(model.device)


def noise_batch(sample_rate: int, seconds: tuple[float, ...]) -> AudioBatch:
    """White noise of the given lengths as a batch, zero padded at the end; the same in every call."""
    rng = np.random.default_rng(0)
    lengths = torch.tensor([round(length * sample_rate) for length in seconds])
    waveforms = torch.zeros(len(seconds), int(lengths.max()))
    for row, length in zip(waveforms, lengths):
        row[:length] = torch.from_numpy(rng.normal(scale=0.1, size=int(length)).astype(np.float32))
    utterances = tuple(Utterance(f"noise{i}", "", "", "", length) for i, length in enumerate(seconds))
    return AudioBatch(utterances, waveforms, lengths)


def _versions() -> str:
    """The versions of the libraries that models come from."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in ("transformers", "speechbrain"))
