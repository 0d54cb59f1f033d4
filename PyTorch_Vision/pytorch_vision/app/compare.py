"""Runs side by side: in what they differ, what came out, and mean and deviation over seeds."""

import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytorch_vision.app.run_folder import Manifest, RunFolder
from pytorch_vision.models import History
from pytorch_vision.runtime.files import user_path, write_csv
from pytorch_vision.runtime.text import aligned, printable

# settings that do not change what a run gives, or have a column of their own
NOT_SHOWN = {
    "model",
    "root",
    "checkpoints",
    "keep_on_drive",
    "order",
    "count",
    "split",
    "output",
    "overwrite",
    "epochs",
}
WIDEST = 40  # characters of a column
HEADER = ["run", "network", "epochs", "test accuracy", "best", "loss", "seconds"]
COLUMNS = [
    "run",
    "network",
    "epochs",
    "test_accuracy",
    "best_test_accuracy",
    "best_epoch",
    "test_loss",
    "seconds",
]


@dataclass(frozen=True)
class FinishedRun:
    """A run, read from its folder.

    Attributes:
        name: its folder, as it was given.
        manifest: its ``run.json``; empty where there is none.
        history: its epochs.
    """

    name: str
    manifest: Manifest
    history: History

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "FinishedRun":
        """Return the run in a folder.

        Raises:
            ValueError: there is none, or its history is damaged.
        """
        run = RunFolder(user_path(folder))
        name = printable(str(run.folder))
        if not run.history.is_file():
            raise ValueError(
                f"{name} holds no run: there is no {run.history.name} in its {run.plots.name}"
            )
        return cls(name, run.read() or {}, History.from_csv(run.history))

    def part(self, name: str) -> Mapping[str, Any]:
        """Return a part of the manifest; empty where it has none."""
        found = self.manifest.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def network(self) -> str:
        """What was trained on what."""
        return printable(str(self.part("network").get("name") or "unknown"))

    @property
    def figures(self) -> dict[str, float]:
        """What came out, by ``COLUMNS``; only the number of epochs if there is none."""
        records = self.history.records
        if not records:
            return {"epochs": 0}
        last, best = records[-1], max(records, key=lambda record: record.test_accuracy)
        return {
            "epochs": len(records),
            "test_accuracy": last.test_accuracy,
            "best_test_accuracy": best.test_accuracy,
            "best_epoch": best.epoch,
            "test_loss": last.test_loss,
            "seconds": sum(record.train_seconds + record.test_seconds for record in records),
        }


def compare_runs(runs: Sequence[FinishedRun]) -> str:
    """Return a text table of runs with their figures, and below it the settings that differ.

    Runs that differ in nothing but their seed are also summed up: mean ± standard deviation.

    Args:
        runs: one or more.
    """
    parts = [aligned([HEADER, *map(_row, runs)])]
    if groups := [group for group in _by_setting(runs) if len(group) > 1]:
        rows = [_summary(group) for group in groups]
        parts.append("Over seeds, mean ± standard deviation:\n" + aligned(rows))
    if names := differing_settings(runs):
        rows = [[name, ", ".join(_short(_setting(run, name)) for run in runs)] for name in names]
        parts.append(f"The settings that differ, in the order of the runs:\n{aligned(rows)}")
    if len({run.part("data").get("fingerprint") for run in runs}) > 1:
        parts.append("They were not all trained and tested on the same images.")
    return "\n".join(parts)


def write_comparison(runs: Sequence[FinishedRun], path: str | os.PathLike) -> None:
    """Write runs as CSV: their figures, and the settings in which they differ.

    Raises:
        OSError: the file cannot be written.
    """
    names = differing_settings(runs)
    rows = []
    for run in runs:
        figures = run.figures
        shown = [_digits(figures.get(column)) for column in COLUMNS[2:]]
        rows.append([run.name, run.network, *shown, *(_setting(run, name) for name in names)])
    write_csv(path, [*COLUMNS, *names], rows)


def differing_settings(runs: Sequence[FinishedRun]) -> list[str]:
    """Return the names of the settings that change a result and are not the same in all runs."""
    settings = [run.part("settings") for run in runs]
    names = sorted({name for one in settings for name in one} - NOT_SHOWN)
    return [name for name in names if len({repr(one.get(name)) for one in settings}) > 1]


def _by_setting(runs: Iterable[FinishedRun]) -> list[list[FinishedRun]]:
    """Group the runs that differ in nothing but their seed."""
    groups = defaultdict(list)
    for run in runs:
        settings = run.part("settings")
        shown = {
            k: v for k, v in settings.items() if k == "epochs" or k not in NOT_SHOWN | {"seed"}
        }
        network, data = run.part("network"), run.part("data").get("fingerprint")
        begins_with = repr(network.get("begins_with"))
        if run.history.records and "seed" in settings:
            key = (repr(sorted(shown.items())), run.network, begins_with, data)
            groups[key].append(run)
    return list(groups.values())


def _summary(runs: Sequence[FinishedRun]) -> list[str]:
    """Return a row: the runs, and mean and deviation of accuracy and loss."""

    def spread(column: str, form: str) -> str:
        values = [run.figures[column] for run in runs]
        return f"{statistics.mean(values):{form}} ± {statistics.stdev(values):{form}}"

    return [
        _short(", ".join(run.name for run in runs)),
        f"{len(runs)} runs",
        f"test accuracy {spread('test_accuracy', '.2f')} %",
        f"loss {spread('test_loss', '.4f')}",
    ]


def _row(run: FinishedRun) -> list[str]:
    figures, shown = run.figures, [_short(run.name), _short(run.network)]
    if not figures["epochs"]:
        return [*shown, "0", "", "", "", ""]
    return [
        *shown,
        str(figures["epochs"]),
        f"{figures['test_accuracy']:.2f} %",
        f"{figures['best_test_accuracy']:.2f} % ({figures['best_epoch']})",
        f"{figures['test_loss']:.4f}",
        f"{figures['seconds']:,.1f}",
    ]


def _setting(run: FinishedRun, name: str) -> str:
    value = run.part("settings").get(name)
    return "unset" if value in (None, "") else printable(str(value))


def _digits(value: float | None) -> str | None:
    return f"{value:.6g}" if isinstance(value, float) else None if value is None else str(value)


def _short(text: str) -> str:
    """Return a text no wider than a column; long ones differ at their ends."""
    return text if len(text) <= WIDEST else f"…{text[1 - WIDEST :]}"
