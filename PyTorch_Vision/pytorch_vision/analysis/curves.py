"""Charts of training: of one run, of several, and of a range test. Also found in ``plots``."""

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pytorch_vision.analysis.drawing import finished, fit_text, new_figure
from pytorch_vision.models import History
from pytorch_vision.training import RangeTest

OUTLIER = 3.0  # a run whose median is so many times the best run's does not set the scale


def training_curves(history: History, title: str = "") -> Figure:
    """Draw loss and accuracy, of training and of test, and the learning rate, by epoch.

    Args:
        history: what ``fit`` returned; without any epoch, the axes stay empty and say so.
        title: what was trained on what.
    """
    figure = new_figure(13, 4.2, title)
    loss, accuracy, rate = figure.subplots(1, 3, width_ratios=(4, 4, 3))
    for axes, label in (
        (loss, "Loss (cross-entropy)"),
        (accuracy, "Accuracy (%)"),
        (rate, "SGD's learning rate after the epoch"),
    ):
        _by_epoch(axes, label)
        if not history.records:
            axes.text(0.5, 0.5, "no epoch was trained", ha="center", transform=axes.transAxes)
    if history.records:
        epochs = history.column("epoch")
        for axes, name, form in ((loss, "loss", ".3f"), (accuracy, "accuracy", ".2f")):
            for part, style in {"train": "C0o-", "test": "C1s-"}.items():
                values = history.column(f"{part}_{name}")
                last = f"{part}: {values[-1]:{form}} after epoch {epochs[-1]}"
                if (part, name) == ("train", "loss"):
                    last += "\n(label smoothing included)"
                axes.plot(epochs, values, style, markersize=4, label=last)
            axes.legend(fontsize=9)
        rate.plot(epochs, history.column("learning_rate"), "C2o-", markersize=4)
        rate.set_ylim(bottom=0)
        for axes in (loss, accuracy, rate):
            axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    return finished(figure)


def _by_epoch(axes: Axes, label: str) -> None:
    axes.set(xlabel="Epoch", ylabel=label)
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def compare(histories: Mapping[str, History], title: str = "") -> Figure:
    """Draw the test loss and the test accuracy of several runs against the epoch.

    The scale is that of the runs near the best one: a run that diverged leaves the picture, and
    its name says so, instead of flattening all others.

    Args:
        histories: of each run, by its name; those without any epoch are named, not drawn.
        title: what was compared.

    Raises:
        ValueError: there is no run.
    """
    if not histories:
        raise ValueError("there are no histories to compare, expected one or more by name")
    figure = new_figure(10, 4.2, title)
    columns = {
        "test_loss": ("Test loss (cross-entropy)", ".3f"),
        "test_accuracy": ("Test accuracy (%)", ".2f"),
    }
    for axes, (column, (label, form)) in zip(figure.subplots(1, 2), columns.items(), strict=True):
        _by_epoch(axes, label)
        values = {name: np.array(one.column(column)) for name, one in histories.items()}
        # of the accuracy, the errors are what is compared
        sizes = values if column == "test_loss" else {n: 100 - v for n, v in values.items()}
        near = _near_the_best(sizes)
        for number, (name, drawn) in enumerate(values.items()):
            last = f"{drawn[-1]:{form}} after epoch {len(drawn)}" if len(drawn) else "no epoch"
            outside = ", off the scale" if len(drawn) and name not in near else ""
            axes.plot(
                np.arange(len(drawn)) + 1,
                drawn,
                color=_colour(number, len(values)),
                linestyle=("-", "--", "-.", ":")[number // 10 % 4],
                marker="osD^v"[number % 5],
                markersize=4,
                label=fit_text(name, 4, form=f"{{}}: {last}{outside}"),
            )
        _set_scale(axes, [values[name] for name in near])
        axes.legend(fontsize=9)
    return finished(figure)


def _near_the_best(sizes: Mapping[str, np.ndarray]) -> list[str]:
    """Return the runs whose losses or errors are of the best run's order of magnitude."""
    medians = {n: float(np.median(v)) for n, v in sizes.items() if len(v) and np.isfinite(v).all()}
    best = min(medians.values(), default=0.0)
    return [name for name, median in medians.items() if median <= OUTLIER * best]


def _set_scale(axes: Axes, values: list[np.ndarray]) -> None:
    if values:
        low, high = min(v.min() for v in values), max(v.max() for v in values)
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)


def _colour(number: int, count: int) -> object:
    """Return one of ``count`` colours that differ as much as they can."""
    return f"C{number}" if count <= 10 else colormaps["turbo"](number / (count - 1))


def lr_finder(test: RangeTest, title: str = "") -> Figure:
    """Draw the loss of a range test against the learning rate, the suggested one marked.

    Args:
        test: what ``find_learning_rate`` returned.
        title: of which network on what.
    """
    names = {
        "learning_rate": "SGD's learning rate",
        "muon_learning_rate": "Muon's learning rate",
    }
    figure = new_figure(7, 4.2, title)
    axes = figure.subplots()
    axes.plot(test.rates, test.losses)
    axes.axvline(
        test.suggestion,
        color="C1",
        linestyle="--",
        label=f"{test.rate}={test.suggestion:.2g}: the smallest loss",
    )
    axes.set(
        xscale="log", xlabel=names[test.rate], ylabel="Training loss, running mean over the steps"
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    return finished(figure)
