"""The progress of a training."""

from dataclasses import dataclass, field
from typing import Any

from pytorch_vision.models import History
from pytorch_vision.runtime.text import checked_text


@dataclass
class Progress:
    """How far a training has come, and what it has printed.

    Attributes:
        epoch, batch: the next batch to train on, both counted from 0 in this training.
        seconds: the time spent on training in the current epoch.
        learning_rates: those of the last step, in the order of ``TrainConfig.rates``.
        history: the records of the complete epochs, after those of earlier trainings.
        log: for each complete epoch, the "text" that it printed and the "hardware" it ran on.
        bar_line: the current epoch's full progress bar, until the epoch is tested.
    """

    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    learning_rates: list[float] = field(default_factory=list)
    history: History = field(default_factory=History)
    log: list[dict[str, str]] = field(default_factory=list)
    bar_line: str = ""

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Progress":
        """Return the progress that ``dataclasses.asdict`` turned into ``saved``.

        Raises:
            KeyError, TypeError, ValueError: ``saved`` is something else, or holds text that is not
                safe to print.
        """
        history = History.from_dicts(saved["history"]["records"])
        names = ("text", "hardware")
        log = [{name: checked_text(entry[name], 2000) for name in names} for entry in saved["log"]]
        checked_text(saved["bar_line"], 2000)
        if not saved["epoch"] == len(log) <= len(history.records):
            raise ValueError("its epochs and its history do not agree")
        return cls(**{**saved, "history": history, "log": log})
