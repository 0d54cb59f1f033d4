"""Charts of training: one run, several runs, and a range test. ``plots`` re-exports them."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pytorch_vision.analysis.drawing import LINE, SMALL, finished, fit_text, new_figure
from pytorch_vision.models import History
from pytorch_vision.training import RangeTest, TrainConfig

OUTLIER = 3.0  # a run whose median exceeds the best run's by this factor does not set the scale


def training_curves(history: History, title: str = "", config: TrainConfig | None = None) -> Figure:
    """Draw loss and accuracy of training and test, and the learning rate, by epoch.

    Without an epoch, the empty axes say so. With the recipe, ``config``, the first epoch with
    images of full size is marked.
    """
    figure = new_figure(13, 4.2, title)
    loss, accuracy, rate = figure.subplots(1, 3, width_ratios=(4, 4, 3))
    for axes, label in (
        (loss, "Loss (cross-entropy)"),
        (accuracy, "Accuracy (%)"),
        (rate, "Learning rate after the epoch"),
    ):
        _by_epoch(axes, label)
        if not history.records:
            axes.text(0.5, 0.5, "no epoch was trained", ha="center", transform=axes.transAxes)
    if history.records:
        epochs = history.column("epoch")
        for axes, name, form in ((loss, "loss", "{:.3f}"), (accuracy, "accuracy", "{:.2f} %")):
            for split, style in {"train": "C0o-", "test": "C1s-"}.items():
                values = history.column(f"{split}_{name}")
                last = f"{split}: {form.format(values[-1])} after epoch {epochs[-1]}"
                if np.isnan(values).all():
                    last = "no test: there are no test images"
                if (split, name) == ("train", "loss"):
                    last += "\n(label smoothing included)"
                axes.plot(epochs, values, style, markersize=4, label=last)
            if config is not None and 0 < config.small_epochs < epochs[-1]:
                label = f"full size from epoch {config.small_epochs + 1} on"
                axes.axvline(config.small_epochs + 0.5, color="0.5", linestyle=":", label=label)
            axes.legend(fontsize=SMALL)
        muon = history.column("muon_learning_rate")
        rate.plot(epochs, history.column("learning_rate"), "C2o-", markersize=4, label="SGD")
        if any(muon):
            rate.plot(epochs, muon, "C3s-", markersize=4, label="Muon (convolutions)")
            rate.legend(fontsize=SMALL)
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

    The axes fit the runs near the best one: a run that diverged leaves them, and the legend says
    so, instead of flattening all others. Runs without an epoch are in the legend only. Folders that
    all names of runs begin with are named once.

    Raises:
        ValueError: there is no run.
    """
    if not histories:
        raise ValueError("there are no histories to compare, expected one or more by name")
    shared, short = _without_common_start(list(histories))
    legend = LINE * (len(histories) + 1)  # below the axes, where it hides no curve
    figure = new_figure(10, 3.8 + legend, title)
    columns = {
        "test_loss": ("Test loss (cross-entropy)", "{:.3f}"),
        "test_accuracy": ("Test accuracy (%)", "{:.2f} %"),
    }
    texts = dict.fromkeys(histories, "")
    for axes, (column, (label, form)) in zip(figure.subplots(1, 2), columns.items(), strict=True):
        _by_epoch(axes, label)
        values = {name: np.array(one.column(column)) for name, one in histories.items()}
        # accuracies are compared by their error rates
        sizes = values if column == "test_loss" else {n: 100 - v for n, v in values.items()}
        near = _near_the_best(sizes)
        for number, (name, drawn) in enumerate(values.items()):
            axes.plot(
                np.arange(len(drawn)) + 1,
                drawn,
                color=_colour(number, len(values)),
                linestyle=("-", "--", "-.", ":")[number // 10 % 4],
                marker="osD^v"[number % 5],
                markersize=4,
            )
            if np.isfinite(histories[name].column("test_accuracy")).any():  # there was a test
                outside = " (off the scale)" if name not in near else ""
                last = form.format(drawn[-1])
                texts[name] += f", {label.split(' (')[0].lower()} {last}{outside}"
        _set_scale(axes, [values[name] for name in near])
    lines = figure.axes[0].lines
    for line, name, start in zip(lines, histories, short, strict=True):
        epochs = len(histories[name].records)
        end = f" after epoch {epochs}" if epochs else "no epoch"
        line.set_label(fit_text(start, 9, form=f"{{}}: {texts[name].removeprefix(', ')}{end}"))
    figure.legend(
        handles=list(lines),
        loc="outside lower center",
        fontsize=SMALL,
        title=fit_text(shared, 9, form="all in {}") if shared else None,
        title_fontsize=SMALL,
    )
    return finished(figure)


def _without_common_start(names: Sequence[str]) -> tuple[str, list[str]]:
    """Return the folders that all names begin with, and the rest of each name."""
    parts = [name.split("/") for name in names]
    folders = [one[:-1] for one in parts] if len(names) > 1 else []
    shared = os.path.commonprefix(folders)  # noqa: RUF071  # of lists, so of whole folders
    return "/".join(shared) or "/" * len(shared), ["/".join(one[len(shared) :]) for one in parts]


def _near_the_best(sizes: Mapping[str, np.ndarray]) -> list[str]:
    """Return the runs whose median loss or error is close to the best run's."""
    medians = {n: float(np.median(v)) for n, v in sizes.items() if len(v) and np.isfinite(v).all()}
    best = min(medians.values(), default=0.0)
    return [name for name, median in medians.items() if median <= OUTLIER * best]


def _set_scale(axes: Axes, values: list[np.ndarray]) -> None:
    if values:
        low, high = min(v.min() for v in values), max(v.max() for v in values)
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)


def _colour(number: int, count: int) -> object:
    """Return one of ``count`` colours that differ as much as possible."""
    return f"C{number}" if count <= 10 else colormaps["turbo"](number / (count - 1))


def lr_finder(test: RangeTest, title: str = "") -> Figure:
    """Draw the loss of a range test against the learning rate, and mark the suggested one."""
    names = {"learning_rate": "Learning rate", "muon_learning_rate": "Muon's learning rate"}
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
