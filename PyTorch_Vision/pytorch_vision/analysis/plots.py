"""Charts of a training and of a test. Each function returns a Figure and saves nothing."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay

from pytorch_vision.analysis.faithfulness import Removal, interval
from pytorch_vision.analysis.predict import BINS, Predictions, calibration
from pytorch_vision.analysis.predict import class_accuracy as accuracy_of_classes
from pytorch_vision.analysis.predict import confusion_matrix as count_confusions
from pytorch_vision.training import History

DPI = 110  # ten inches are then about as wide as a page of GitHub


def plain(text: str) -> str:
    """Return a text as matplotlib needs it to draw it as it is, dollar signs and all."""
    return text.replace("$", r"\$")


def loss_and_accuracy(history: History, title: str = "") -> Figure:
    """Draw loss and accuracy, of training and of test, against the epoch.

    Args:
        history: what ``fit`` returned; without any epoch, the axes stay empty and say so.
        title: what was trained on what.
    """
    figure = Figure(figsize=(10, 4.2), dpi=DPI, layout="constrained")
    figure.suptitle(plain(title), fontsize=11)
    quantities = {"loss": ("Loss (cross-entropy)", ".3f"), "accuracy": ("Accuracy (%)", ".2f")}
    for axes, (name, (label, form)) in zip(figure.subplots(1, 2), quantities.items(), strict=True):
        axes.set(xlabel="Epoch", ylabel=label)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if not history.records:
            axes.text(0.5, 0.5, "no epoch was trained", ha="center", transform=axes.transAxes)
            continue
        epochs = history.column("epoch")
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        for part, style in {"train": "C0o-", "test": "C1s-"}.items():
            values = history.column(f"{part}_{name}")
            last = f"{part}: {values[-1]:{form}} after epoch {epochs[-1]}"
            axes.plot(epochs, values, style, markersize=4, label=last)
        axes.legend()
    return figure


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
    """Draw the share of each true class that was classified rightly, the best class on top."""
    accuracy = accuracy_of_classes(predictions)
    order = [label for label in np.argsort(accuracy) if np.isfinite(accuracy[label])]
    overall = 100 * np.mean(predictions.predicted == predictions.labels)
    figure = Figure(figsize=(8, 1 + 0.33 * len(order)), dpi=DPI, layout="constrained")
    figure.suptitle(plain(title), fontsize=11)
    axes = figure.subplots()
    axes.axvline(overall, color="C1", linestyle="--", label=f"all classes: {overall:.2f} %")
    axes.plot(accuracy[order], [plain(predictions.class_names[label]) for label in order], "o")
    for place, label in enumerate(order):
        axes.annotate(
            f"{accuracy[label]:.1f}",
            (accuracy[label], place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xlabel("Test images of the class that were classified rightly (%)")
    axes.margins(x=0.1)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def trust(
    removals: Mapping[str, Mapping[str, Removal]],
    randomized: Mapping[str, Mapping[str, np.ndarray]],
    title: str = "",
) -> Figure:
    """Draw how faithful maps are, and whether they depend on what was learned.

    Args:
        removals: for each group of images (two, such as the right and the wrong ones), what
            ``removal`` returned for its maps.
        randomized: what ``randomization`` returned.
        title: of which network.
    """
    figure = Figure(figsize=(10, 8.4), dpi=DPI, layout="constrained")
    figure.suptitle(plain(title), fontsize=11)
    (*above, scores, sanity) = figure.subplots(2, 2).flat
    for axes, (group, maps) in zip(above, removals.items(), strict=True):
        for number, (name, one) in enumerate(maps.items()):
            for curves, style in ((one.most_first, "o-"), (one.least_first, "o--")):
                label = name if style == "o-" else None
                axes.plot(one.fractions, _mean(curves), f"C{number}{style}", label=label)
        count = len(one.most_first)
        axes.set(
            title=f"{count:,} images classified {group}",
            xlabel="Pixels taken away",
            ylabel="Probability of the predicted class",
            ylim=(0, 1.02),
        )
        axes.plot([], [], "k-", label="most important first")
        axes.plot([], [], "k--", label="least important first")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    above[0].legend(loc="lower left", fontsize=9)
    for shift, form, (group, maps) in zip((-0.1, 0.1), "os", removals.items(), strict=True):
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
    scores.legend(title="images classified", fontsize=9)
    for number, (name, correlations) in enumerate(randomized.items()):
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


def reliability(predictions: Predictions, title: str = "") -> Figure:
    """Draw how often the network is right against how sure it is, and how often it is so sure."""
    measured = calibration(predictions)
    figure = Figure(figsize=(6.4, 6.4), dpi=DPI, layout="constrained")
    figure.suptitle(plain(title), fontsize=11)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    CalibrationDisplay(measured.accuracy, measured.confidence, predictions.confidence).plot(
        ax=above, name=f"expected calibration error {100 * measured.error:.2f} %"
    )
    above.set(xlabel="", ylabel="Share that is right", xlim=(0, 1.02), ylim=(0, 1.02))
    below.hist(predictions.confidence, bins=np.linspace(0, 1, BINS + 1), color="C0")
    below.set(xlabel="Probability given to the predicted class", ylabel="Test images", yscale="log")
    below.set_ylim(bottom=0.7)
    below.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    below.yaxis.set_minor_formatter(NullFormatter())
    for axes in (above, below):
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.3)
    above.yaxis.set_major_formatter(PercentFormatter(1))
    return figure
