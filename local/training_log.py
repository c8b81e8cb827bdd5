"""What a training stage says: where a training goes on, and of each epoch a line on the terminal and TensorBoard events."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class EpochReport:
    """Called with each row of train_log.csv.

    directory: where the TensorBoard events go. metric: ``cer`` or ``wer``.
    """

    def __init__(self, directory: str | Path, metric: str):
        self.directory, self.metric = Path(directory), metric

    def goes_on(self, epoch: int, step: int | None) -> None:
        """Say what the checkpoint holds that a training goes on from: a whole epoch, or the ``step`` first steps of one."""
        if step is None:
            print(f"goes on after epoch {epoch}, from its checkpoint", flush=True)
        else:
            print(f"goes on in epoch {epoch}, from the checkpoint after step {step}", flush=True)

    def says_step(self, limits: tuple[float, int | None], processes: int, accumulated: int) -> None:
        """Say what a step is at most, where it is not one batch. limits: seconds and utterances (None: any number) of a process's batch."""
        def most(batches: int) -> str:
            return f"{'' if limits[1] is None else f'{limits[1] * batches} utterances and '}{limits[0] * batches:g} s"

        batches = processes * accumulated
        if batches > 1:
            print(f"a step is at most {most(batches)}, from {batches} batches ({processes} processes, accumulation {accumulated}) of {most(1)}",
                  flush=True)

    def __call__(self, row: dict) -> None:
        """Print the row and append it to the events; rows of a resumed epoch replace the older ones."""
        print(
            f"epoch {row['epoch']}: train loss {row['train_loss']:.4f}, dev loss {row['valid_loss']:.4f}, "
            f"dev {self.metric.upper()} {row['valid_error_rate']:.2f}%, {row['seconds']:.0f} s",
            flush=True,
        )
        with SummaryWriter(self.directory, purge_step=row["epoch"]) as events:
            for key, value in row.items():
                if key != "epoch":
                    events.add_scalar(key, value, row["epoch"])


def left_out(skipped: list[str], num_utterances: int) -> str:
    """What a stage's last line says of training utterances that the loss could not use; nothing where it used all.

    >>> left_out(["u1", "u7"], 100)
    '; 2 of 100 training utterances left out, whose text is missing or too long for the audio or the model (record.json names them)'
    """
    if not skipped:
        return ""
    return (f"; {len(skipped):,} of {num_utterances:,} training utterances left out, whose text is missing or too long for the audio or the model "
            "(record.json names them)")
