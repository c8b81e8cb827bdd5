"""What a training stage says about each epoch: a line on the terminal, and TensorBoard events."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class EpochReport:
    """Called with each row of train_log.csv."""

    def __init__(self, directory: str | Path, metric: str):
        self.directory, self.metric = Path(directory), metric

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
