"""Training and fine-tuning (Section 3.3): data, model and configuration in, averaged model and log out.

The same loop trains the recipes' deep model and fine-tunes pruned ones; the
configuration (conf/deep.yaml, conf/finetune.yaml) makes the difference.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import speechbrain as sb
import torch
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.utils.epoch_loop import EpochCounter

from comflp.errors import ComflpError
from comflp.train.brain import CTCBrain
from comflp.train.checkpoints import AtomicCheckpointer, average_best
from comflp.data.batching import refuse_too_long
from comflp.data.training import DurationBatchSampler, LabelledDataset, SharedBatches
from comflp.train.distillation import Distillation
from comflp.train.objectives import objective_of
from comflp.processes import training_backend
from comflp.models.layered import LayeredModel
from comflp.scoring import check_references

_CHECKPOINT_MINUTES = 15
"""Between two checkpoints within an epoch, where the caller says nothing."""


@dataclass
class FitResult:
    """What training left. ``model`` holds the averaged weights.

    log: one row an epoch with the fields of train_log.csv; error rates in percent.
    averaged_epochs: the epochs whose weights were averaged, best first.
    error_rate_before, error_rate: on ``valid``, of the model as it came and with the averaged weights.
    skipped: ids of training utterances that were left out: too short for their text, or without a hypothesis to learn from.
    """

    model: LayeredModel
    log: list[dict]
    averaged_epochs: list[int]
    error_rate_before: float
    error_rate: float
    skipped: list[str] = field(default_factory=list)


def fit(
    model: LayeredModel,
    train: Sequence,
    valid: Sequence,
    directory: str | Path,
    hparams: Mapping[str, Any],
    metric: str = "cer",
    normaliser: str = "none",
    distillation: Distillation | None = None,
    take_snapshot: Callable[[LayeredModel, int], None] | None = None,
    run_opts: Mapping[str, Any] | None = None,
    report: Callable[[dict], None] = lambda row: None,
    goes_on: Callable[[int, int | None], None] = lambda epoch, step: None,
    check_own: Callable[[], None] = lambda: None,
    allow_pipes: bool = False,
    extends: int = 0,
) -> FitResult:
    """Train ``model`` on ``train``, choose by the error rate on ``valid``, and average the best checkpoints.

    train, valid: utterances with text, which ``train`` needs not have where only a teacher is learned from. directory: gets ``save/`` (checkpoints) and
    ``train_log.csv``; a directory with checkpoints is continued from the last one.
    hparams: what conf/finetune.yaml holds (number_of_epochs, optimizer, scheduler,
    layerdrop, batch sizes, average, ...), and ``stop_below``, a dev error rate in percent: the first epoch below it is the
    last one; ``subnetworks`` and ``subnetwork_weight`` are those of :func:`comflp.train.objectives.objective_of`.
    metric: ``cer`` or ``wer``, normaliser: one of ``comflp.scoring.NORMALISERS``, for the error rate, which is over all of ``valid``.
    take_snapshot(model, epoch): called at hparams ``snapshot_epochs``.
    run_opts: SpeechBrain's (device, precision, ckpt_interval_minutes, ...), which go before ``hparams`` of the same name. Inside
    ``comflp.processes.processes`` the batches are shared out; a step is a batch of each
    process, which are together as large as one process's would be.
    report: called with each epoch's row of the log. goes_on: called with the epoch of the checkpoint that training is
    continued from, and the steps of it that are done, None where that is all of them. check_own: called in the main process
        after every batch and before anything is written; raises where ``directory`` is another process's by now.
    extends: epochs of the finished training in ``directory`` that this one adds to; a schedule that counts steps spans the
    epochs that are added. 0 for a training of its own.

    Raises ComflpError at a loss that is not finite, for unusable data, for a ``valid`` whose letters are of the other
    case than the model's vocabulary, and where the checkpoint to go on from is gone.
    """
    directory = Path(directory)
    h = dict(hparams)
    if h["number_of_epochs"] < 1:
        raise ComflpError("a training has at least one epoch (number_of_epochs)")
    train_set = LabelledDataset(train, model, allow_pipes, targets=distillation.hypotheses if distillation else None)
    check_references({utterance.utt_id: utterance.text for utterance in valid}, model.tokenizer, normaliser)
    valid_set = LabelledDataset(valid, model, allow_pipes, for_error_rate=True)
    for utterance in (*train_set.utterances, *valid_set.utterances):
        refuse_too_long(utterance, utterance.duration, model.longest)
    limits = batch_limits(h)
    sampler = DurationBatchSampler(train_set, *limits, h["batch_order"], h["seed"])
    counter = EpochCounter(limit=h["number_of_epochs"])
    brain = _brain(
        modules={"model": model},
        opt_class=h["optimizer"],
        hparams={
            **h,
            "snapshot_epochs": h["snapshot_epochs"] if take_snapshot else (),
            "take_snapshot": take_snapshot,
            "make_schedule": lambda optimizer: schedule_of(
                h["scheduler"], optimizer, len(loader) // brain.grad_accumulation_factor * (h["number_of_epochs"] - extends)
            ),
            "model": model,
            "objective": objective_of(model, str(h.get("subnetworks", "")), h.get("subnetwork_weight", 0.0)),
            "epoch_counter": counter,
            "distillation": distillation,
            "directory": directory,
            "metric": metric,
            "normaliser": normaliser,
            "report": report,
            "goes_on": goes_on,
            "extends": extends,
            "stop_below": h.get("stop_below"),
        },
        run_opts={
            # A layer that layerdrop skipped has no gradient, nor what stands for masked frames where none are.
            "find_unused_parameters": h["layerdrop"] > 0 or any(name.endswith("masked_spec_embed") for name, _ in model.named_parameters()),
            **({} if "ckpt_interval_steps" in (run_opts or {}) else {"ckpt_interval_minutes": _CHECKPOINT_MINUTES}),
            **(run_opts or {}),
            "distributed_backend": training_backend(),
        },
        checkpointer=AtomicCheckpointer(directory / "save", {"model": model, "epoch_counter": counter}, check_own),
    )
    if distillation is not None:
        distillation.teacher.to(brain.device)
    brain.train_sampler = SharedBatches(sampler, shuffle=False) if brain.distributed_launch else sampler
    loader = make_dataloader(train_set, batch_sampler=brain.train_sampler, collate_fn=train_set.collate)
    if len(loader) < brain.grad_accumulation_factor:
        raise ComflpError(f"an epoch has {len(loader)} batches, and a step is of {brain.grad_accumulation_factor} (grad_accumulation_factor): "
                          "nothing would be trained; lower it, or the size of a batch")
    brain.checkpointer.add_recoverable("dataloader-TRAIN", loader)
    valid_sampler = DurationBatchSampler(valid_set, *limits, "ascending", h["seed"])
    valid_loader = brain.make_dataloader(
        valid_set, sb.Stage.VALID, ckpt_prefix=None, batch_sampler=valid_sampler, collate_fn=valid_set.collate
    )
    before = brain.error_rate_on(valid_loader)
    with _front_end_of(model, h["freeze_feature_extractor"]):
        brain.fit(counter, loader, valid_loader)
    weights, best = average_best(brain.checkpointer, h["average"])
    model.load_state_dict(weights)
    model.round_weights()  # what is measured is what will lie on disk
    after = brain.error_rate_on(valid_loader)
    epochs = [checkpoint.meta["epoch"] for checkpoint in best]
    return FitResult(model.cpu().eval(), brain.log, epochs, before, after, train_set.skipped)


@contextlib.contextmanager
def _front_end_of(model: LayeredModel, frozen: bool) -> Iterator[None]:
    """Within the block the front end is out of training where it is to be ``frozen``; after it the model is as it was."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if frozen:
        model.freeze_feature_extractor()
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _brain(**options: Any) -> CTCBrain:
    """The training loop; ComflpError for run options that SpeechBrain refuses, as half precision without a GPU."""
    try:
        return CTCBrain(**options)
    except ValueError as error:
        raise ComflpError(f"SpeechBrain cannot train with these run options: {error}") from error


def batch_limits(hparams: Mapping[str, Any]) -> tuple[float, int | None]:
    """Seconds and utterances (None: any number) of a process's batch at most: its share of the configuration's, so that a step has
    the same size in any number of processes; one utterance at least."""
    processes = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    utterances = hparams["max_batch_utterances"]
    return hparams["max_batch_seconds"] / processes, None if utterances is None else max(utterances // processes, 1)


def schedule_of(make: Callable, optimizer: torch.optim.Optimizer, total_steps: int):
    """The schedule of learning rates that a configuration's ``scheduler`` makes; OneCycleLR is told how many steps there are."""
    if getattr(make, "func", make) is torch.optim.lr_scheduler.OneCycleLR:
        return make(optimizer, total_steps=total_steps)
    return make(optimizer)
