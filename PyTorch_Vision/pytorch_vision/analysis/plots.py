"""Charts of a training (from ``curves``) and of a test. Each function returns a Figure."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from pytorch_vision.analysis.calibration import BINS, calibration
from pytorch_vision.analysis.curves import compare as compare
from pytorch_vision.analysis.curves import lr_finder as lr_finder
from pytorch_vision.analysis.curves import training_curves as training_curves
from pytorch_vision.analysis.drawing import LINE, SMALL, finished, fit_text, new_figure
from pytorch_vision.analysis.metrics import measure
from pytorch_vision.analysis.predictions import Predictions, largest_confusions
from pytorch_vision.analysis.predictions import confusion_matrix as count_confusions
from pytorch_vision.analysis.trust import Trust
from pytorch_vision.explain.gradcam import METHOD_NAMES
from pytorch_vision.explain.removal import Removal, interval
from pytorch_vision.runtime.text import counted, percent

MOST_CLASSES = 30  # in a legible confusion matrix
LARGEST = 25  # confusions, or worst and best classes, drawn where there are more classes
NAME = 2.2  # inches, the longest name beside a chart


def confusion_matrix(predictions: Predictions, title: str = "") -> Figure:
    """Draw how often images of each true class (row) were predicted as each class (column).

    A cell's colour is its share of its row. For more than 30 classes, bars of the largest
    confusions are drawn in place of the matrix.
    """
    if len(predictions.class_names) > MOST_CLASSES:
        return _largest_confusions(predictions, title)
    matrix = count_confusions(predictions)
    counts = matrix.sum(axis=1, keepdims=True)
    names = [fit_text(name, NAME) for name in predictions.class_names]
    side = max(5.2, 0.42 * len(names))
    figure = new_figure(side + 2.4, side + 1.6, title or predictions.title)
    axes = figure.subplots()
    shares = matrix / np.maximum(counts, 1)
    # errors are few compared with correct answers, and would be invisible on a linear scale
    scale = PowerNorm(0.4, 0, 1)
    axes.imshow(shares, "Blues", norm=scale, interpolation="nearest")
    for (row, column), count in np.ndenumerate(matrix):
        axes.text(
            column,
            row,
            str(count),
            ha="center",
            va="center",
            fontsize=SMALL if count < 10_000 else 7,
            color="white" if scale(shares[row, column]) > 0.7 else "black",
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    _slant(axes)
    axes.set(xlabel="Predicted class", ylabel="True class")
    return finished(figure)


def _slant(axes: Axes) -> None:
    """Slant the names below a chart, each ending under its own tick."""
    for label in axes.get_xticklabels():
        label.set(rotation=45, ha="right", rotation_mode="anchor")


def _largest_confusions(predictions: Predictions, title: str) -> Figure:
    """Draw the most frequent confusions of one class with another, as bars."""
    every = largest_confusions(predictions)
    largest = every[:LARGEST]
    figure = new_figure(9, 1.4 + 2 * LINE * max(len(largest), 3), title or predictions.title)
    axes = figure.subplots()
    places = np.arange(len(largest))
    bars = axes.barh(places, [one.count for one in largest], color="C0")
    texts = [f" {one.count:,} ({percent(one.share)})" for one in largest]
    axes.bar_label(bars, texts, fontsize=SMALL)
    names = [
        f"{fit_text(predictions.class_names[one.true], NAME)} → "
        f"{fit_text(predictions.class_names[one.predicted], NAME)}"
        for one in largest
    ]
    axes.set_yticks(places, names, fontsize=SMALL)
    axes.invert_yaxis()
    axes.margins(x=0.25, y=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(
        f"{len(largest)} largest of {len(every):,} confusions among "
        f"{len(predictions.class_names):,} classes",
        fontsize=10,
    )
    axes.set(
        xlabel="Images (share of the true class)",
        ylabel="True class → predicted class",
    )
    axes.grid(alpha=0.3, axis="x")
    return finished(figure)


def class_accuracy(predictions: Predictions, title: str = "") -> Figure:
    """Draw the accuracy of each true class, the best class on top.

    The number of its images is in brackets, as an accuracy over few says little. Classes without
    images are left out; of more than 50 classes, the best 25 and the worst 25 are drawn.
    """
    metrics = measure(predictions)
    accuracy, counts, overall = 100 * metrics.recall, metrics.counts, 100 * metrics.accuracy
    order = np.argsort(accuracy, kind="stable")[: np.isfinite(accuracy).sum()]
    places, total = np.arange(len(order)), len(order)
    if total > 2 * LARGEST:
        order = np.concatenate([order[:LARGEST], order[-LARGEST:]])
        places = np.concatenate([np.arange(LARGEST), np.arange(LARGEST) + LARGEST + 1])
    height = 1.2 + (0.33 if total < LARGEST else 0.25) * len(order)
    figure = new_figure(8, height, title or predictions.title)
    axes = figure.subplots()
    if len(order) < total:
        axes.set_title(
            f"the {LARGEST} best and the {LARGEST} worst of {total:,} classes", fontsize=10
        )
        axes.axhline(LARGEST, color="0.6", linewidth=1, linestyle=":")
    axes.axvline(overall, color="C1", linestyle="--", label=f"all classes: {overall:.2f} %")
    axes.plot(accuracy[order], places, "o")
    names = [
        fit_text(predictions.class_names[label], NAME, form=f"{{}} ({counts[label]:,})")
        for label in order
    ]
    axes.set_yticks(places, names, fontsize=10 if total < LARGEST else SMALL)
    for place, label in zip(places, order, strict=True):
        above = accuracy[label] >= overall
        axes.annotate(
            f"{accuracy[label]:.1f}",
            (accuracy[label], place),
            xytext=(7 if above else -7, 0),  # away from the line, which would cross it
            textcoords="offset points",
            ha="left" if above else "right",
            va="center",
            fontsize=SMALL,
        )
    axes.set_xlabel("Correctly classified images of the class (%)")
    axes.set_ylabel("Class (its images)")
    axes.margins(x=0.12, y=0.6 / max(len(order) - 1, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return finished(figure)


def trust(measured: Trust, title: str = "") -> Figure:
    """Draw how faithful maps are, and whether they depend on the learned weights."""
    figure = new_figure(10, 8.4, title)
    (*above, scores, sanity) = figure.subplots(2, 2).flat
    for axes, (group, maps) in zip(above, measured.removals.items(), strict=True):
        _draw_removals(axes, group, maps)
    above[0].legend(loc="best", fontsize=SMALL)  # how high the lines are differs between networks
    _draw_gaps(scores, measured)
    _draw_randomized(sanity, measured)
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    return finished(figure)


def _draw_removals(axes: Axes, group: str, maps: Mapping[str, Removal]) -> None:
    """Draw the probability left after removing pixels, by their order in each kind of map."""
    for number, (name, one) in enumerate(maps.items()):
        axes.plot(one.fractions, _mean(one.morf), f"C{number}o-", label=name)
        # hollow, so that two lines on top of each other can both be seen
        axes.plot(one.fractions, _mean(one.lerf), f"C{number}s--", markerfacecolor="white")
    axes.set(
        title=counted(len(one.morf), f"{group} image"),
        xlabel="Pixels taken away",
        ylabel="Probability of the predicted class",
        ylim=(0, 1.02),
    )
    axes.plot([], [], "k-", label="most important first")
    axes.plot([], [], "k--", label="least important first")
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))


def _draw_gaps(axes: Axes, measured: Trust) -> None:
    """Draw the mean gap between the two orders for each kind of map, with its interval."""
    groups = measured.removals
    for shift, form, (group, maps) in zip((-0.1, 0.1), "os", groups.items(), strict=True):
        means = np.array([_mean(one.score) for one in maps.values()])
        ends = np.array([interval(one.score) for one in maps.values()])
        places = np.arange(len(maps)) + shift
        reach = np.abs(ends - means[:, None]).T
        axes.errorbar(means, places, xerr=reach, fmt=f"k{form}", capsize=3, label=group)
    axes.set_yticks(range(len(maps)), list(maps))
    axes.invert_yaxis()
    axes.axvline(0, color="grey", linewidth=1)
    axes.margins(y=0.25)
    axes.set(
        title="Gap between dashed and solid line: mean, 95 % interval",
        xlabel="Mean gap in probability (0: no better than chance)",
    )
    axes.legend(loc="lower right", ncols=2, fontsize=SMALL)


def _draw_randomized(axes: Axes, measured: Trust) -> None:
    """Draw how much of each method's map is left when layers get random weights."""
    for number, (name, correlations) in enumerate(measured.randomized.items()):
        known = [1.0, *(float(_mean(one)) for one in correlations.values())]
        # two methods can agree everywhere; a thin line on a thick one shows both
        width, marker = max(1.5, 5 - 1.5 * number), "osx^"[number % 4]
        axes.plot(
            range(len(known)),
            known,
            marker=marker,
            markersize=5,
            linewidth=width,
            label=METHOD_NAMES[name],
        )
    parts = ["nothing", *next(iter(measured.randomized.values()), {})]
    axes.set_xticks(range(len(parts)), [fit_text(part, 1) for part in parts])
    if len(parts) > 6:
        _slant(axes)
    axes.axhline(0, color="grey", linewidth=1)
    axes.set(
        title="Does the map depend on what was learned?",
        xlabel="Randomised so far, from the last layer to the first",
        ylabel="Rank correlation with the trained network's map",
    )
    axes.legend(fontsize=SMALL)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over images, the first axis; without images NaN, which is not drawn."""
    return values.mean(axis=0) if len(values) else np.full(values.shape[1:], np.nan)


def reliability(
    predictions: Predictions, title: str = "", scaled: Predictions | None = None
) -> Figure:
    """Draw accuracy against confidence (a reliability diagram), and a histogram of the confidence.

    ``scaled`` are the same predictions with temperature-scaled logits, drawn beside them. The
    default title is ``predictions.title``.
    """
    figure = new_figure(6.4, 6.4, title or predictions.title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], "k:", label="Perfectly calibrated")
    drawn = {"original": predictions} | ({} if scaled is None else {"with temperature": scaled})
    for number, (name, some) in enumerate(drawn.items()):
        measured = calibration(some)
        above.plot(
            measured.confidence,
            measured.accuracy,
            f"C{number}{'so'[number]}-",
            label=f"{name}: calibration error {100 * measured.error:.2f} %",
        )
        below.hist(
            some.confidence,
            bins=np.linspace(0, 1, BINS + 1),
            color=f"C{number}",
            histtype="stepfilled" if number == 0 else "step",
            linewidth=2,
        )
    above.set(xlabel="", ylabel="Share correctly classified", xlim=(0, 1.02), ylim=(-0.03, 1.03))
    # bins of few images can lie anywhere, so the legend goes outside
    above.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), frameon=False, fontsize=SMALL)
    below.set(
        xlabel="Probability given to the predicted class",
        ylabel=f"{predictions.kind.capitalize()}s",
        yscale="log",
    )
    below.set_ylim(bottom=0.7)
    below.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    below.yaxis.set_minor_formatter(NullFormatter())
    for axes in (above, below):
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.grid(alpha=0.3)
    above.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    return finished(figure)
