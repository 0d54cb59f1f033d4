"""What a training run recorded of its epochs, and how far it has come."""

import csv
import os
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """One line of a history; losses are means over images, accuracies are in percent.

    ``train_loss`` is what the optimizer saw: with label smoothing, on augmented images.
    ``learning_rate`` is SGD's at the epoch's last step; seconds are wall-clock time.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    train_seconds: float
    test_seconds: float


@dataclass(frozen=True)
class History:
    """What training recorded, one record an epoch, the first epoch being 1."""

    records: tuple[EpochRecord, ...] = ()

    def column(self, name: str) -> list[float]:
        """Return one attribute of all records."""
        return [getattr(record, name) for record in self.records]

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write a header and one line an epoch, making the folder if it is missing."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(column.name for column in fields(EpochRecord))
            for record in self.records:
                writer.writerow(
                    f"{value:.6g}" if isinstance(value, float) else value
                    for value in astuple(record)
                )


@dataclass
class Progress:
    """How far a run has come, and what it has shown on the way.

    Attributes:
        epoch, batch: the next batch to train on, both counted from 0.
        seconds: spent on training in the current epoch.
        learning_rate: SGD's at the last step.
        history: of the whole epochs.
        log: for each whole epoch, the "text" that it printed and the "hardware" that it ran on.
        bar_line: the bar of the current epoch, once it is full.
    """

    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    learning_rate: float = 0.0
    history: History = field(default_factory=History)
    log: list[dict[str, str]] = field(default_factory=list)
    bar_line: str = ""

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Progress":
        """Return the progress that ``dataclasses.asdict`` made ``saved`` of."""
        records = tuple(EpochRecord(**record) for record in saved["history"]["records"])
        return cls(**{**saved, "history": History(records)})
