"""How far a training has come, and what it printed on the way."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

from pytorch_vision.models import EpochRecord, History
from pytorch_vision.runtime.text import checked_text


@dataclass
class Progress:
    """How far a training has come, and what it printed on the way.

    Attributes:
        epoch, batch: the next batch to train on, both counted from 0.
        seconds: spent on training in the current epoch.
        learning_rate: at the last step; Muon has a second one, which is not kept.
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
        """Return the progress that ``dataclasses.asdict`` turned into ``saved``.

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

    def with_epoch(self, record: EpochRecord, text: str, hardware: str) -> "Progress":
        """Return the progress at the beginning of the next epoch, with this one's record."""
        return replace(
            self,
            epoch=self.epoch + 1,
            batch=0,
            seconds=0.0,
            history=History((*self.history.records, record)),
            log=[*self.log, {"text": text, "hardware": hardware}],
        )
