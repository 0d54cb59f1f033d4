"""Charts of a training (from ``curves``) and of a test: each returns a Figure, saving nothing."""

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter, StrMethodFormatter
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay

from pytorch_vision.analysis.calibration import BINS, calibration
from pytorch_vision.analysis.curves import DPI, compare, loss_and_accuracy, lr_finder, plain
from pytorch_vision.analysis.faithfulness import interval
from pytorch_vision.analysis.predict import Predictions
from pytorch_vision.analysis.predict import class_accuracy as accuracy_of_classes
from pytorch_vision.analysis.predict import confusion_matrix as count_confusions
from pytorch_vision.analysis.trust import Trust

__all__ = [
    "class_accuracy",
    "compare",
    "confusion_matrix",
    "loss_and_accuracy",
    "lr_finder",
    "plain",
    "reliability",
    "trust",
]


def confusion_matrix(predictions: Predictions, title: str = "") -> Figure:
    """Draw how often each true class (row) was taken for each class (column)."""
    figure = Figure(figsize=(7.6, 6.8), dpi=DPI, layout="constrained")
    figure.suptitle(plain(title), fontsize=11)
    axes = figure.subplots()
    display = ConfusionMatrixDisplay(
        count_confusions(predictions), display_labels=list(map(plain, predictions.class_names))
    )
    # few errors beside many successes: on an even scale all errors would look like none
    display.plot(
        ax=axes,
        cmap="Blues",
        colorbar=False,
        xticks_rotation=45,
        values_format="d",
        im_kw={"norm": PowerNorm(0.4)},
        text_kw={"fontsize": 9},
    )
    axes.set(xlabel="Predicted class", ylabel="True class")
    return figure


def class_accuracy(predictions: Predictions, title: str = "") -> Figure:
    """Draw the share of each true class that was correctly classified, the best class on top."""
    accuracy = accuracy_of_classes(predictions)
    order = [label for label in np.argsort(accuracy) if np.isfinite(accuracy[label])]
    overall = 100 * np.mean(predictions.predicted == predictions.labels)
    figure = Figure(figsize=(8, 1 + 0.33 * len(order)), dpi=DPI, layout="constrained")
    figure.suptitle(plain(title), fontsize=11)
    axes = figure.subplots()
    axes.axvline(overall, color="C1", linestyle="--", label=f"all classes: {overall:.2f} %")
    axes.plot(accuracy[order], [plain(predictions.class_names[label]) for label in order], "o")
    for place, label in enumerate(order):
        above = accuracy[label] >= overall
        axes.annotate(
            f"{accuracy[label]:.1f}",
            (accuracy[label], place),
            xytext=(7 if above else -7, 0),  # away from the line, which would cross it
            textcoords="offset points",
            ha="left" if above else "right",
            va="center",
            fontsize=9,
        )
    axes.set_xlabel("Correctly classified test images of the class (%)")
    axes.margins(x=0.1)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def trust(measured: Trust, title: str = "") -> Figure:
    """Draw how faithful maps are, and whether they depend on what was learned.

    Args:
        measured: what ``measure_trust`` returned.
        title: of which network.
    """
    figure = Figure(figsize=(10, 8.4), dpi=DPI, layout="constrained")
    figure.suptitle(plain(title), fontsize=11)
    (*above, scores, sanity) = figure.subplots(2, 2).flat
    for axes, (group, maps) in zip(above, measured.removals.items(), strict=True):
        for number, (name, one) in enumerate(maps.items()):
            for curves, style in ((one.morf, "o-"), (one.lerf, "o--")):
                label = name if style == "o-" else None
                axes.plot(one.fractions, _mean(curves), f"C{number}{style}", label=label)
        count = len(one.morf)
        axes.set(
            title=f"{count:,} {group} image{'s' * (count != 1)}",
            xlabel="Pixels taken away",
            ylabel="Probability of the predicted class",
            ylim=(0, 1.02),
        )
        axes.plot([], [], "k-", label="most important first")
        axes.plot([], [], "k--", label="least important first")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    above[0].legend(loc="lower left", fontsize=9)
    for shift, form, (group, maps) in zip(
        (-0.1, 0.1), "os", measured.removals.items(), strict=True
    ):
        means = np.array([_mean(one.score) for one in maps.values()])
        ends = np.array([interval(one.score) for one in maps.values()])
        places = np.arange(len(maps)) + shift
        reach = np.abs(ends - means[:, None]).T
        scores.errorbar(means, places, xerr=reach, fmt=f"k{form}", capsize=3, label=group)
    scores.set_yticks(range(len(maps)), list(maps))
    scores.invert_yaxis()
    scores.axvline(0, color="grey", linewidth=1)
    scores.margins(y=0.25)
    scores.set(
        title="Area between the two curves, 95 % interval", xlabel="0: no better than chance"
    )
    scores.legend(fontsize=9)
    for number, (name, correlations) in enumerate(measured.randomized.items()):
        known = [1.0, *map(_mean, correlations.values())]
        # two methods can agree everywhere: a thinner line on a thicker one shows both
        width, marker = max(1.5, 5 - 1.5 * number), "osx^"[number % 4]
        sanity.plot(
            ["nothing", *correlations],
            known,
            marker=marker,
            markersize=5,
            linewidth=width,
            label=name,
        )
    sanity.axhline(0, color="grey", linewidth=1)
    sanity.set(
        title="Does the map depend on what was learned?",
        xlabel="Randomised so far, from the classifier downward",
        ylabel="Rank correlation with the true map",
    )
    sanity.legend(fontsize=9)
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    return figure


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over images, the first axis; NaN, which is not drawn, over none."""
    return values.mean(axis=0) if len(values) else np.full(values.shape[1:], np.nan)


def reliability(
    predictions: Predictions, title: str = "", scaled: Predictions | None = None
) -> Figure:
    """Draw how often the network is correct against how sure it is, and how often it is so sure.

    Args:
        predictions: of the test images.
        title: of which network.
        scaled: the same, with the logits divided by a temperature, to draw beside them.
    """
    figure = Figure(figsize=(6.4, 6.4), dpi=DPI, layout="constrained")
    figure.suptitle(plain(title), fontsize=11)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    drawn = {"as it is": predictions} | ({} if scaled is None else {"with temperature": scaled})
    for number, (name, some) in enumerate(drawn.items()):
        measured = calibration(some)
        CalibrationDisplay(measured.accuracy, measured.confidence, some.confidence).plot(
            ax=above,
            name=f"{name}: calibration error {100 * measured.error:.2f} %",
            ref_line=number == 0,
            color=f"C{number}",
            marker="so"[number],
        )
        below.hist(
            some.confidence,
            bins=np.linspace(0, 1, BINS + 1),
            color=f"C{number}",
            histtype="stepfilled" if number == 0 else "step",
            linewidth=2,
        )
    above.set(xlabel="", ylabel="Share correctly classified", xlim=(0, 1.02), ylim=(0, 1.02))
    above.legend(loc="best", fontsize=9)  # a bin of few images can lie anywhere
    below.set(xlabel="Probability given to the predicted class", ylabel="Test images", yscale="log")
    below.set_ylim(bottom=0.7)
    below.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    below.yaxis.set_minor_formatter(NullFormatter())
    for axes in (above, below):
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.3)
    above.yaxis.set_major_formatter(PercentFormatter(1))
    return figure
