"""The history of a training run: losses and accuracies by epoch, in memory and as CSV."""

import csv
import os
from dataclasses import MISSING, astuple, dataclass, fields
from typing import Any

from pytorch_vision.runtime.files import user_path, write_csv


@dataclass(frozen=True)
class EpochRecord:
    """The record of one epoch: mean losses over images, and accuracies in percent, as printed.

    ``train_loss`` is the loss that was minimised: with label smoothing, on augmented images.
    Without test images, test loss and accuracy are NaN. Learning rates are those of the epoch's
    last step; Muon's is 0 where another optimizer trained, and in histories from before it was
    recorded. Seconds are wall-clock time.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    learning_rate: float
    train_seconds: float
    test_seconds: float
    muon_learning_rate: float = 0.0

    def __post_init__(self) -> None:
        for column in fields(self):  # convert numbers of NumPy and torch to Python's
            value = getattr(self, column.name)
            object.__setattr__(self, column.name, value.item() if hasattr(value, "item") else value)


@dataclass(frozen=True)
class History:
    """The records of a training run's epochs, of which the first is 1."""

    records: tuple[EpochRecord, ...] = ()

    @classmethod
    def from_dicts(cls, saved: list[dict[str, Any]]) -> "History":
        """Return the history of records that ``dataclasses.asdict`` has turned into dicts.

        Raises:
            TypeError, ValueError: ``saved`` is not a list of such dicts.
        """
        records = tuple(EpochRecord(**record) for record in saved)
        for number, record in enumerate(records, 1):
            values = astuple(record)
            if record.epoch != number or not all(type(v) in (int, float) for v in values):
                raise ValueError(f"record {number} of its history is {values}")
        return cls(records)

    @classmethod
    def from_csv(cls, path: str | os.PathLike) -> "History":
        """Return the history in a file that ``to_csv`` wrote.

        Raises:
            ValueError: the file is not a complete history.
            OSError: the file cannot be opened.
        """
        with open(user_path(path), encoding="utf-8", newline="") as file:
            try:
                table = csv.DictReader(file)
                needed = [one.name for one in fields(EpochRecord) if one.default is MISSING]
                if missing := set(needed).difference(table.fieldnames or ()):
                    raise ValueError(f"it lacks the columns {', '.join(sorted(missing))}")
                rows = [
                    {name: int(v) if name == "epoch" else float(v) for name, v in row.items()}
                    for row in table
                ]
                return cls.from_dicts(rows)
            except (TypeError, ValueError, AttributeError) as error:
                raise ValueError(f"{path} is not a complete history: {error}") from error

    def column(self, name: str) -> list[float]:
        """Return one attribute of all records, by epoch."""
        return [getattr(record, name) for record in self.records]

    @property
    def best(self) -> EpochRecord:
        """The record with the highest test accuracy.

        Raises:
            ValueError: there is none.
        """
        return max(self.records, key=lambda record: record.test_accuracy)

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write a header and one line per epoch, creating the folder if it is missing."""
        rows = [
            [f"{value:.6g}" if isinstance(value, float) else value for value in astuple(record)]
            for record in self.records
        ]
        write_csv(path, [column.name for column in fields(EpochRecord)], rows)
