"""What a training run recorded of its epochs, and how far it has come."""

import csv
import io
import os
from dataclasses import astuple, dataclass, field, fields
from typing import Any

from pytorch_vision.training.files import checked_text, written_whole


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

    @classmethod
    def from_dicts(cls, saved: list[dict[str, Any]]) -> "History":
        """Return the history whose records ``dataclasses.asdict`` made ``saved`` of.

        Raises:
            TypeError, ValueError: it is something else.
        """
        records = tuple(EpochRecord(**record) for record in saved)
        for number, record in enumerate(records, 1):
            values = astuple(record)
            if record.epoch != number or not all(type(v) in (int, float) for v in values):
                raise ValueError(f"record {number} of its history is {values}")
        return cls(records)

    @classmethod
    def from_csv(cls, path: str | os.PathLike) -> "History":
        """Return the history that ``to_csv`` wrote, to as many digits as it did.

        Raises:
            ValueError: the file is another one; says which line is wrong.
            OSError: it cannot be opened.
        """
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            names = [column.name for column in fields(EpochRecord)]
            if reader.fieldnames != names:
                raise ValueError(f"{path} is no history: its first line is not {','.join(names)}")
            try:
                saved = [
                    {
                        name: int(text) if name == "epoch" else float(text)
                        for name, text in row.items()
                    }
                    for row in reader
                ]
                return cls.from_dicts(saved)
            except (TypeError, ValueError, AttributeError) as error:
                raise ValueError(
                    f"{path} is no whole history, line {reader.line_num}: {error}"
                ) from error

    def column(self, name: str) -> list[float]:
        """Return one attribute of all records."""
        return [getattr(record, name) for record in self.records]

    def to_csv(self, path: str | os.PathLike) -> None:
        """Write a header and one line an epoch, making the folder if it is missing."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(column.name for column in fields(EpochRecord))
        for record in self.records:
            writer.writerow(
                f"{value:.6g}" if isinstance(value, float) else value for value in astuple(record)
            )
        with written_whole(path) as file:
            file.write(text.getvalue().encode())


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
        """Return the progress that ``dataclasses.asdict`` made ``saved`` of.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        if saved.keys() != {field.name for field in fields(cls)}:
            raise ValueError(f"its progress has {sorted(saved)}")
        history = History.from_dicts(saved["history"]["records"])
        names = ("text", "hardware")
        log = [{name: checked_text(entry[name], 2000) for name in names} for entry in saved["log"]]
        progress = cls(**{**saved, "history": history, "log": log})
        checked_text(progress.bar_line, 2000)
        if not 0 <= progress.epoch == len(history.records) == len(log):
            raise ValueError("its epochs and its history do not agree")
        if type(progress.batch) is not int or progress.batch < 0:
            raise ValueError(f"its batch is {progress.batch!r}")
        if not all(type(v) in (int, float) for v in (progress.seconds, progress.learning_rate)):
            raise ValueError("its seconds or its learning rate is no number")
        return progress
