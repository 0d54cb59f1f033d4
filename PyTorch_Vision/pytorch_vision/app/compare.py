"""Runs side by side: their results, the settings that differ, mean and deviation over seeds."""

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pytorch_vision.app.command_line import WITHOUT_EFFECT
from pytorch_vision.app.run_folder import FINISHED, STOPPED, Manifest, RunFolder, results_of
from pytorch_vision.models import History
from pytorch_vision.runtime.files import RUN_MANIFEST, user_path, write_csv
from pytorch_vision.runtime.text import aligned, cut, printable

NOT_SHOWN = {*WITHOUT_EFFECT, "model", "epochs"}  # the last two have a column of their own
WIDEST = 40  # characters of a column
COLUMNS = ("epochs", "test_accuracy", "best_test_accuracy", "best_epoch", "test_loss", "seconds")


@dataclass(frozen=True)
class FinishedRun:
    """A run, read from its folder.

    Attributes:
        name: the folder, as it was given.
        manifest: the content of ``run.json``; empty if there is none.
        history: the epochs.
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
        """Return a part of the manifest; empty if it is missing."""
        found = self.manifest.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def network(self) -> str:
        """The network and its data, as in "ResNet18 on CIFAR-10"."""
        return printable(str(self.part("network").get("name") or "unknown"))

    @property
    def is_finished(self) -> bool:
        """Whether the training ended by itself, or by ``after_epoch``; True without a manifest."""
        return self.manifest.get("status", FINISHED) in (FINISHED, STOPPED)

    @property
    def results(self) -> dict[str, float]:
        """The run's ``results_of``, and its "seconds"; without an epoch, only its number, 0."""
        found = results_of(self.history)
        if found["epochs"]:
            found["seconds"] = found["train_seconds"] + found["test_seconds"]
        return found

    def setting(self, name: str) -> str:
        """One of its settings as text."""
        if not self.manifest:
            return "unknown"
        value = self.part("settings").get(name)
        return "unset" if value in (None, "") else printable(str(value))


def read_runs(folder: str | os.PathLike) -> list[FinishedRun]:
    """Return the run in a folder, or all runs below it, such as those of ``--seed 0 1 2``.

    Unfinished runs are among the latter, under the name of their folder, ``unfinished``.

    Raises:
        ValueError: there is none, or its history is damaged.
    """
    run = RunFolder(user_path(folder))
    below, seen = list[Path](), set[str]()
    for place, folders, _ in () if run.history.is_file() else os.walk(run.folder, followlinks=True):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        if (real := os.path.realpath(place)) in seen:  # links can form a circle
            folders.clear()
        elif RunFolder(Path(place)).history.is_file():
            below.append(Path(place))
        seen.add(real)
    return [FinishedRun.read(one) for one in below or [run.folder]]


def compare_runs(runs: Sequence[FinishedRun]) -> str:
    """Return a text table of runs with their results, and below it the settings that differ.

    Runs that differ only in their seed also get a row with mean ± standard deviation.
    """
    header = ["run", "network", "epochs", "test accuracy", "best", "loss", "seconds"]
    parts = [aligned([header, *map(_row, runs)])]
    if groups := [group for group in _by_setting(runs) if len(group) > 1]:
        rows = [_summary(group) for group in groups]
        parts.append("Over seeds, mean ± standard deviation:\n" + aligned(rows))
    if names := differing_settings(runs):
        rows = [[name, ", ".join(cut(run.setting(name), WIDEST) for run in runs)] for name in names]
        parts.append(f"The settings that differ, in the order of the runs:\n{aligned(rows)}")
    known = [run for run in runs if run.manifest]
    if unknown := ", ".join(run.name for run in runs if not run.manifest):
        parts.append(
            f"Not compared, as {RUN_MANIFEST} is missing or damaged: settings of {unknown}"
        )
    if len({run.part("data").get("fingerprint") for run in known}) > 1:
        parts.append("They were not all trained and tested on the same images.")
    return "\n".join(parts)


def write_comparison(runs: Sequence[FinishedRun], path: str | os.PathLike) -> None:
    """Write runs as CSV: their results, and the settings in which they differ.

    Raises:
        OSError: the file cannot be written.
    """
    names = differing_settings(runs)
    rows = [
        [
            run.name,
            run.network,
            *(f"{run.results[one]:.6g}" if one in run.results else None for one in COLUMNS),
            *map(run.setting, names),
        ]
        for run in runs
    ]
    write_csv(path, ["run", "network", *COLUMNS, *names], rows)


def differing_settings(runs: Sequence[FinishedRun]) -> list[str]:
    """Return the names of the settings that change a result and differ between the runs.

    Runs without a manifest do not count.
    """
    settings = [run.part("settings") for run in runs if run.manifest]
    names = sorted({name for one in settings for name in one} - NOT_SHOWN)
    return [name for name in names if len({repr(one.get(name)) for one in settings}) > 1]


def _by_setting(runs: Iterable[FinishedRun]) -> list[list[FinishedRun]]:
    """Group the runs that differ only in their seed, except unfinished and untested ones."""
    left_out = NOT_SHOWN - {"epochs"} | {"seed"}
    groups = defaultdict(list)
    for run in runs:
        settings = run.part("settings")
        tested = not math.isnan(run.results.get("test_loss", math.nan))
        if run.is_finished and tested and "seed" in settings:
            alike = {name: settings[name] for name in sorted(settings.keys() - left_out)}
            begins_with = run.part("network").get("begins_with")
            data = run.part("data").get("fingerprint")
            identity = run.manifest.get("identity_over_seeds")
            groups[repr((alike, run.network, begins_with, data, identity))].append(run)
    return list(groups.values())


def _summary(runs: Sequence[FinishedRun]) -> list[str]:
    """Return a table row: the runs, and mean and deviation of their accuracy and loss."""

    def spread(column: str, form: str) -> str:
        values = [run.results[column] for run in runs]
        with np.errstate(invalid="ignore"):  # the loss of a run that diverged is infinite
            return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form}}"

    names = ", ".join(run.name for run in runs)
    if len(names) > WIDEST:
        names = f"{runs[0].name} and {len(runs) - 1} more"
    return [
        names,
        f"{len(runs)} runs",
        f"test accuracy {spread('test_accuracy', '.2f')} %",
        f"loss {spread('test_loss', '.4f')}",
    ]


def _row(run: FinishedRun) -> list[str]:
    shown, results = [cut(run.name, WIDEST), cut(run.network, WIDEST)], run.results
    if not results["epochs"]:
        return [*shown, "0", "", "", "", ""]
    tested = ["no test", "", ""]
    if not math.isnan(results["test_accuracy"]):
        tested = [
            f"{results['test_accuracy']:.2f} %",
            f"{results['best_test_accuracy']:.2f} % ({results['best_epoch']})",
            f"{results['test_loss']:.4f}",
        ]
    return [*shown, str(results["epochs"]), *tested, f"{results['seconds']:,.1f}"]
