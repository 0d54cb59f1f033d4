"""Runs side by side: what differs between them, and what came of it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytorch_vision.app import manifest
from pytorch_vision.app.run_folder import Output
from pytorch_vision.models import History
from pytorch_vision.runtime.files import user_path
from pytorch_vision.runtime.text import printable

# settings that make no difference in what a run gives, or have a column of their own
NOT_SHOWN = {
    "model",
    "root",
    "checkpoints",
    "keep_on_drive",
    "order",
    "count",
    "output",
    "overwrite",
    "epochs",
}
WIDEST = 40  # characters of a column


@dataclass(frozen=True)
class FinishedRun:
    """A run's folder, read again.

    Attributes:
        name: of the folder, as it was given.
        made_with: its ``run.json``; empty where there is none.
        history: of its epochs.
    """

    name: str
    made_with: Mapping[str, Any]
    history: History

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "FinishedRun":
        """Return the run in a folder.

        Raises:
            ValueError: there is none; or its history is damaged.
        """
        output = Output(user_path(folder))
        if not output.history.is_file():
            raise ValueError(
                f"{printable(str(output.folder))} holds no run: there is no {output.history.name} "
                f"in its {output.plots.name}"
            )
        made_with = manifest.read(output.folder) or {}
        return cls(printable(str(output.folder)), made_with, History.from_csv(output.history))

    def part(self, name: str) -> Mapping[str, Any]:
        """Return a part of what it was made with, or nothing."""
        found = self.made_with.get(name)
        return found if isinstance(found, dict) else {}


def compare_runs(runs: Sequence[FinishedRun]) -> str:
    """Return a table of runs and what came out, and below it which of their settings differ.

    Args:
        runs: one or more.
    """
    settings = [run.part("settings") for run in runs]
    names = sorted({name for one in settings for name in one} - NOT_SHOWN)
    differing = [n for n in names if len({repr(one.get(n)) for one in settings}) > 1]
    header = ["run", "network", "epochs", "test accuracy", "best", "loss", "seconds"]
    table = _aligned([header, *map(_row, runs)])
    if differing:
        table += "\nTheir settings differ in these, in the order of the runs:"
        width = max(map(len, differing))
        for name in differing:
            values = (one.get(name) for one in settings)
            shown = ", ".join("none" if v in (None, "") else _short(v) for v in values)
            table += f"\n{name:{width}}  {shown}"
    prints = {run.part("data").get("fingerprint") for run in runs}
    if len(prints) > 1:
        table += "\nThey were not all trained and tested on the same images."
    return table


def _row(run: FinishedRun) -> list[str]:
    shown = [run.name, str(run.part("network").get("name") or "unknown")]
    records = run.history.records
    if not records:
        return [*shown, "0", "", "", "", ""]
    last, best = records[-1], max(records, key=lambda record: record.test_accuracy)
    seconds = sum(run.history.column("train_seconds")) + sum(run.history.column("test_seconds"))
    return [
        *shown,
        str(len(records)),
        f"{last.test_accuracy:.2f} %",
        f"{best.test_accuracy:.2f} % ({best.epoch})",
        f"{last.test_loss:.4f}",
        f"{seconds:,.1f}",
    ]


def _short(text: Any) -> str:
    """Return a text that is no wider than a column: of a longer one, the end is what differs."""
    text = printable(str(text))
    return text if len(text) <= WIDEST else f"…{text[1 - WIDEST :]}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows in columns of their widest text."""
    short = [list(map(_short, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*short, strict=True)]
    lines = (
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in short
    )
    return "\n".join(lines)
