"""Charts of a training and of a test. Each function returns a Figure and saves nothing."""

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay

from pytorch_vision.analysis.predict import BINS, Predictions, calibration
from pytorch_vision.analysis.predict import class_accuracy as accuracy_of_classes
from pytorch_vision.analysis.predict import confusion_matrix as count_confusions
from pytorch_vision.training import History

DPI = 110  # ten inches are then about as wide as a page of GitHub


def loss_and_accuracy(history: History, title: str = "") -> Figure:
    """Draw loss and accuracy, of training and of test, against the epoch.

    Args:
        history: what ``fit`` returned; without any epoch, the axes stay empty and say so.
        title: what was trained on what.
    """
    figure = Figure(figsize=(10, 4.2), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=11)
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
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots()
    display = ConfusionMatrixDisplay(
        count_confusions(predictions), display_labels=predictions.class_names
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
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots()
    axes.axvline(overall, color="C1", linestyle="--", label=f"all classes: {overall:.2f} %")
    axes.plot(accuracy[order], [predictions.class_names[label] for label in order], "o")
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


def reliability(predictions: Predictions, title: str = "") -> Figure:
    """Draw how often the network is right against how sure it is, and how often it is so sure."""
    measured = calibration(predictions)
    figure = Figure(figsize=(6.4, 6.4), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=11)
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
