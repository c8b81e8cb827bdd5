"""Training of a LayeredModel model as a speechbrain Brain: what a step, an epoch and a checkpoint are."""

from __future__ import annotations

import random
import time
from typing import Iterable, Mapping, Sequence

import speechbrain as sb
import torch
from speechbrain.utils.checkpoints import Checkpoint

from comflp.artifacts import write_text
from comflp.train.checkpoints import training_order
from comflp.data.batching import own_frames
from comflp.data.training import LabelledBatch
from comflp.inference.device import evaluation
from comflp.errors import ComflpError
from comflp.models.layered import Output
from comflp.scoring import error_rate

_LOG_FIELDS = ("epoch", "learning_rate", "train_loss", "valid_loss", "valid_error_rate", "too_short", "seconds")


class CTCBrain(sb.Brain):
    """SpeechBrain's training loop around LayeredModel.

    Random numbers of a step (dropout, layerdrop, augmentation) follow from
    seed, epoch, step and rank alone, so that a resumed run draws the same ones.
    """

    def compute_forward(self, batch: LabelledBatch, stage) -> tuple[Output, LabelledBatch]:
        """Logits of a batch; in training with augmentation and layerdrop."""
        batch = batch.to(self.device)
        self.batch_ids = [utterance.utt_id for utterance in batch.audio.utterances]
        h = self.hparams
        if stage != sb.Stage.TRAIN:
            return self.modules.model(h.objective.taught(batch), return_hidden=h.objective.reads_hidden), batch
        seed = hash((h.seed, h.epoch_counter.current, self.step, sb.utils.distributed.get_rank() or 0)) & 0x7FFFFFFF
        torch.manual_seed(seed)
        random.seed(seed)
        if h.augmentation is not None:
            batch = LabelledBatch(augmented(batch.audio, h.augmentation, h.model), batch.labels, batch.num_labels)
        batch = LabelledBatch(h.objective.taught(batch), batch.labels, batch.num_labels)
        output = self.modules.model(
            batch.audio,
            layerdrop=h.layerdrop,
            return_hidden=h.objective.reads_hidden or (h.distillation is not None and h.distillation.hidden_weight > 0),
            checkpoint_layers=h.gradient_checkpointing,
            drop_generator=random.Random(seed),
            subnetworks=h.objective.subnetworks,
        )
        return output, batch

    def compute_objectives(self, predictions, batch: LabelledBatch, stage) -> torch.Tensor:
        """Mean over utterances of the loss a label; with distillation its weighted terms, or these alone."""
        output, batch = predictions
        distillation = self.hparams.distillation if stage == sb.Stage.TRAIN else None
        if distillation is not None and distillation.hypotheses is not None:
            return distillation.loss(output, batch.audio)
        loss, too_short = self.hparams.objective.loss(output, batch)
        if stage == sb.Stage.TRAIN:
            self.too_short += too_short
            if distillation is not None:
                loss = loss + distillation.loss(output, batch.audio)
        else:
            counted = len(batch.num_labels) - too_short
            self.valid_loss, self.valid_counted = self.valid_loss + float(loss) * counted, self.valid_counted + counted
            self.references += [utterance.text for utterance in batch.audio.utterances]
            self.hypotheses += self.hparams.objective.texts(output, batch)
        return loss

    def check_loss_isfinite(self, loss: torch.Tensor) -> None:
        """Stop at a loss that is NaN or infinite, naming the batch; the last checkpoint stays as it is."""
        if not torch.isfinite(loss):
            raise ComflpError(
                f"the training loss became {loss.item()} in epoch {self.hparams.epoch_counter.current}, batch "
                f"{self.step}, on utterances {' '.join(self.batch_ids)}; look at their audio and text, "
                f"or lower the learning rate. The last checkpoint is kept"
            )

    def init_optimizers(self) -> None:
        """Optimizer over the trainable parameters, and its learning-rate schedule."""
        parameters = [p for p in self.modules.parameters() if p.requires_grad]
        self.optimizer = self.opt_class(parameters)
        self.optimizers_dict = {"optimizer": self.optimizer}
        self.schedule = self.hparams.make_schedule(self.optimizer)
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable("optimizer", self.optimizer)
            self._keep_schedule()

    def _keep_schedule(self) -> None:
        self.checkpointer.add_recoverable("schedule", self.schedule, custom_save_hook=_save_state, custom_load_hook=_load_state)

    def on_fit_start(self) -> None:
        """As SpeechBrain does, recovering the checkpoint furthest in training."""
        self._compile()
        self._wrap_distributed()
        self.init_optimizers()
        recovered = self.checkpointer.recover_latest(self.device)
        self.log = _read_log(recovered)
        if self.hparams.extends:
            self._extend(recovered)
        self._end_early()
        self.too_short_before = 0
        if recovered is not None and not recovered.meta["end-of-epoch"] and sb.utils.distributed.if_main_process():
            self.too_short_before = recovered.meta.get("too_short", 0)  # of all processes: one of them goes on counting from there
        if recovered is None:
            self._snapshot(0)
        elif sb.utils.distributed.if_main_process():
            meta = recovered.meta
            self.hparams.goes_on(meta["epoch"], None if meta["end-of-epoch"] else meta["step"])

    def _extend(self, recovered: Checkpoint | None) -> None:
        """Begin the schedule anew where the training that this one adds to ended; later it is recovered like any other."""
        if recovered is None or recovered.meta["epoch"] < self.hparams.extends:
            raise ComflpError(
                f"{self.checkpointer.checkpoints_dir} has no checkpoint of epoch {self.hparams.extends} to go on from; "
                f"add --force to train from the beginning"
            )
        is_where_it_ended = recovered.meta["epoch"] == self.hparams.extends and recovered.meta["end-of-epoch"]
        if is_where_it_ended and isinstance(self.schedule, torch.optim.lr_scheduler.OneCycleLR):
            self.schedule = self.hparams.make_schedule(self.optimizer)
            self._keep_schedule()

    def _end_early(self) -> None:
        """Let the last epoch that is done be the last of all where one was below ``stop_below``, or the last ``early_stopping`` were no better.

        By the log, which a checkpoint holds: a training that was killed ends where it would have ended.
        """
        h, rates = self.hparams, [row["valid_error_rate"] for row in self.log[self.hparams.extends :]]
        below = h.stop_below is not None and any(rate < h.stop_below for rate in rates)
        if below or (h.early_stopping is not None and rates and len(rates) - 1 - rates.index(min(rates)) >= h.early_stopping):
            h.epoch_counter.limit = self.log[-1]["epoch"]

    def on_fit_batch_end(self, batch, outputs, loss, should_step) -> None:
        """Advance a schedule that goes by steps; end where another process has taken over the work."""
        self._check_own()
        if should_step and not isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step()

    def on_stage_start(self, stage, epoch=None) -> None:
        """Start the counts of an epoch's part."""
        self.references, self.hypotheses = [], []
        self.valid_loss, self.valid_counted = 0.0, 0
        if stage == sb.Stage.TRAIN:
            self.too_short, self.too_short_before, self.epoch_started = self.too_short_before, 0, time.monotonic()

    def on_stage_end(self, stage, stage_loss, epoch=None) -> None:
        """After training: remember the loss. After validation: schedule, log, snapshot, and last of all the checkpoint.

        What a kill before the checkpoint leaves is made again with the epoch; after it, nothing would be made again.
        """
        if stage == sb.Stage.TRAIN:
            self.train_loss, self.too_short = self._of_all_processes()
            return
        self._check_own()
        h = self.hparams
        rate = error_rate(self.references, self.hypotheses, h.metric, h.normaliser).rate
        row = {
            "epoch": epoch,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": self.train_loss,
            "valid_loss": self.valid_loss / max(self.valid_counted, 1),  # over utterances, however they fall into batches
            "valid_error_rate": rate,
            "too_short": self.too_short,
            "seconds": round(time.monotonic() - self.epoch_started, 2),
        }
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(rate if h.monitor == "error_rate" else row["valid_loss"])
        self.log.append(row)
        self._end_early()
        if sb.utils.distributed.if_main_process():
            write_text(h.directory / "train_log.csv", _as_csv(self.log))
        self._snapshot(epoch)
        if sb.utils.distributed.if_main_process():
            h.report(row)
        self._save_epoch(epoch, rate)

    def _of_all_processes(self) -> tuple[float, int]:
        """Mean loss and utterances too short for their text, of the batches of this epoch in all processes that share them."""
        if not torch.distributed.is_initialized():
            return self.avg_train_loss, self.too_short
        total = torch.tensor([self.avg_train_loss, self.too_short], dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        return float(total[0]) / torch.distributed.get_world_size(), int(total[1])

    def _check_own(self) -> None:
        if sb.utils.distributed.if_main_process():
            self.checkpointer.check_own()

    def _save_epoch(self, epoch: int, rate: float) -> None:
        meta = {"epoch": epoch, "step": self.optimizer_step, "error_rate": float(rate), "log": self.log}
        self.checkpointer.save_checkpoint(meta=meta, end_of_epoch=True)
        self.checkpointer.delete_checkpoints(
            num_to_keep=1, importance_keys=[training_order], ckpt_predicate=lambda c: not c.meta["end-of-epoch"]
        )
        self.checkpointer.delete_checkpoints(
            num_to_keep=self.hparams.average,
            importance_keys=[lambda c: (-c.meta["error_rate"], c.meta["epoch"])],
            ckpt_predicate=lambda c: c.meta["end-of-epoch"] and c.meta["epoch"] != epoch,
        )

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt) -> bool:
        due = super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)
        return due and self.step % self.grad_accumulation_factor == 0

    def _save_intra_epoch_ckpt(self) -> None:
        self.avg_train_loss, too_short = self._of_all_processes()  # one process writes what all of them go on from
        meta = {"epoch": self.hparams.epoch_counter.current, "step": self.step, "too_short": too_short, "log": self.log}
        self.checkpointer.save_checkpoint(meta=meta, end_of_epoch=False)
        self.checkpointer.delete_checkpoints(
            num_to_keep=1, importance_keys=[training_order], ckpt_predicate=lambda c: not c.meta["end-of-epoch"]
        )

    def _snapshot(self, epoch: int) -> None:
        if epoch in self.hparams.snapshot_epochs and sb.utils.distributed.if_main_process():
            self.hparams.model.eval()
            self.hparams.take_snapshot(self.hparams.model, epoch)

    def error_rate_on(self, loader: Iterable[LabelledBatch]) -> float:
        """Error rate of the model as it is, in percent, by greedy search; the same in every process."""
        self.on_stage_start(sb.Stage.VALID)
        with evaluation(self.modules):
            for batch in loader:
                self.compute_objectives(self.compute_forward(batch, sb.Stage.VALID), batch, sb.Stage.VALID)
        return error_rate(self.references, self.hypotheses, self.hparams.metric, self.hparams.normaliser).rate


def augmented(audio, augmentation, model):
    """The batch through a speechbrain Augmenter; lengths follow a change of speed.

    A batch of which an utterance would be longer than the model takes at a time, or shorter than a frame, stays as it is.
    """
    relative = audio.num_samples / audio.waveforms.shape[1]
    waveforms, relative = augmentation(audio.waveforms, relative)
    num_samples = (relative * waveforms.shape[1]).round().long()
    too_long = model.longest is not None and int(num_samples.max()) > round(model.longest * model.sample_rate)
    if too_long or int(model.num_frames(num_samples).min()) < 1:
        return audio
    return type(audio)(audio.utterances, waveforms * own_frames(num_samples, waveforms.shape[1]), num_samples)


@sb.utils.distributed.main_process_only
def _save_state(schedule, path) -> None:
    torch.save(schedule.state_dict(), path)


def _load_state(schedule, path, end_of_epoch) -> None:
    schedule.load_state_dict(torch.load(path, weights_only=True))


def _read_log(checkpoint) -> list[dict]:
    return list(checkpoint.meta["log"]) if checkpoint is not None else []


def _as_csv(rows: Sequence[Mapping]) -> str:
    lines = [",".join(_LOG_FIELDS)]
    lines += [",".join(f"{row[key]:.6g}" for key in _LOG_FIELDS) for row in rows]
    return "\n".join(lines) + "\n"
