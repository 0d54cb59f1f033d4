from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from answers import answered, some_predictions
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pytorch_vision.analysis import Predictions, measure, plots
from pytorch_vision.analysis.calibration import calibration, temperature_scaled
from pytorch_vision.analysis.trust import Trust
from pytorch_vision.explain.geometry import MapGeometry
from pytorch_vision.explain.removal import Removal


def many_classes(count: int) -> Predictions:
    """Return predictions of classes with long names; one image of every third is misclassified."""
    labels = np.repeat(np.arange(count), 2)
    wrong = (np.arange(len(labels)) % 2 == 0) & (labels % 3 == 0)
    names = tuple(f"class {label} {'of a long name ' * 5}{label}" for label in range(count))
    return answered(labels, (labels + wrong) % count, names)


def inside(figure: Figure) -> bool:
    """Tell whether all texts of a figure lie within it, and no names beside a chart touch."""
    figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    within = min(drawn.x0, drawn.y0, width - drawn.x1, height - drawn.y1) > -0.02
    names = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    apart = all(not one.overlaps(other) for one, other in pairwise(names))
    return within and apart


def test_of_a_thousand_classes_the_largest_confusions_are_drawn():
    figure = plots.confusion_matrix(many_classes(1000), "a title")
    (axes,) = figure.axes
    assert len(axes.texts) == len(axes.patches) == 25
    assert {text.get_text() for text in axes.texts} == {" 1 (50 %)"}
    assert "25 largest of 334 confusions among 1,000 classes" in axes.get_title()
    assert axes.get_yticklabels()[0].get_text().startswith("class 0 ")
    assert inside(figure)


def test_of_a_thousand_classes_the_best_and_the_worst_are_drawn():
    figure = plots.class_accuracy(many_classes(1000))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["50.0"] * 25 + ["100.0"] * 25
    assert axes.get_title() == "the 25 best and the 25 worst of 1,000 classes"
    assert inside(figure)


def test_thirty_long_names_fit_beside_and_below_their_matrix():
    figure = plots.confusion_matrix(many_classes(30), "a title " * 40)
    assert inside(figure)
    (axes,) = figure.axes
    assert len(axes.texts) == 900
    for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        below = axes.transData.transform((tick, 0))[0]
        assert label.get_window_extent().x1 == pytest.approx(below, abs=12)  # it ends there


def test_confusion_matrix_has_counts_on_colours_of_their_shares():
    predictions = answered([0] * 20 + [1] * 2, [0] * 10 + [1] * 10 + [0, 1])
    (axes,) = plots.confusion_matrix(predictions).axes
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0]])
    assert [text.get_text() for text in axes.texts] == [*["10"] * 2, "0", "1", "1", *["0"] * 4]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ant", "bee", "cow"]


def test_each_number_can_be_read_on_its_colour():
    """On a scale that is steep at first, the middle of the colours is not that of the shares."""
    labels = np.repeat(np.arange(20), 20)
    predicted = (np.tile(np.arange(20), 20) >= labels).astype(int)  # shares of 0, 5, 10, ... %
    predictions = answered(labels, predicted, tuple("abcdefghijklmnopqrst"))
    (axes,) = plots.confusion_matrix(predictions).axes
    (picture,) = axes.images
    below = picture.to_rgba(picture.get_array())[..., :3].reshape(-1, 3)
    above = np.array([to_rgb(text.get_color()) for text in axes.texts])
    colours = np.stack([below, above])
    linear = np.where(colours > 0.04045, ((colours + 0.055) / 1.055) ** 2.4, colours / 12.92)
    dark, light = np.sort(linear @ [0.2126, 0.7152, 0.0722] + 0.05, axis=0)
    assert (light / dark).min() > 4.5  # the contrast that WCAG 2 asks for


def test_all_images_taken_for_one_class_and_a_class_without_any():
    all_one = answered([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4], [2] * 12, many_classes(6).class_names)
    assert inside(plots.confusion_matrix(all_one))
    figure = plots.class_accuracy(all_one)
    assert inside(figure)
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.0"] * 4 + ["100.0"]


def test_class_accuracy_is_written_beside_each_class():
    predictions = some_predictions(40)
    axes = plots.class_accuracy(predictions).axes[0]
    written = {float(text.get_text()) for text in axes.texts}
    assert written == {round(100 * value, 1) for value in measure(predictions).recall}
    assert "%" in axes.get_xlabel()
    counts = np.bincount(predictions.labels).tolist()
    assert {label.get_text() for label in axes.get_yticklabels()} == {
        f"{name} ({count})" for name, count in zip(("ant", "bee", "cow"), counts, strict=True)
    }
    right = predictions.right.mean()
    assert f"{100 * right:.2f} %" in axes.get_legend().get_texts()[0].get_text()


def test_no_class_accuracy_is_written_across_the_line_of_all_classes():
    labels = np.repeat([0, 1, 2], 100)
    predicted = np.repeat([1, 0, 2, 1, 0, 2], [70, 30, 40, 60, 3, 97])  # 30, 60, 97 % are right
    axes = plots.class_accuracy(answered(labels, predicted)).axes[0]
    axes.figure.draw_without_rendering()
    (line,) = (line for line in axes.lines if line.get_linestyle() == "--")
    across = axes.transData.transform((line.get_xdata()[0], 0))[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [box.x1 < across or box.x0 > across for box in boxes] == [True, True, True]
    assert all(axes.bbox.x0 < box.x0 and box.x1 < axes.bbox.x1 for box in boxes)


def test_reliability_shows_the_bins_and_the_error_of_both_temperatures():
    predictions = some_predictions(200)
    drawn = {"original": predictions, "with temperature": temperature_scaled(predictions, 2.0)}
    above, below = plots.reliability(predictions, "a title", drawn["with temperature"]).axes
    curves = [line for line in above.lines if line.get_marker() in "so"]
    texts = [text.get_text() for text in above.get_legend().get_texts()]
    for curve, counted, (name, one) in zip(curves, below.patches, drawn.items(), strict=True):
        measured = calibration(one)
        np.testing.assert_allclose(curve.get_xdata(), measured.confidence)
        np.testing.assert_allclose(curve.get_ydata(), measured.accuracy)
        assert f"{name}: calibration error {100 * measured.error:.2f} %" in texts
        counts = np.histogram(one.confidence, 15, (0, 1))[0]
        assert counted.get_xy()[:, 1].max() == counts.max()
    assert len({line.get_color() for line in above.lines}) == 3  # and the diagonal
    assert len(plots.reliability(predictions).axes[1].patches) == 1


def test_no_bin_hides_behind_the_legend_or_the_frame():
    """A bin of few images can lie anywhere, and several do."""
    sure = np.linspace(0.4, 0.99, 40, dtype=np.float32)[:, None]
    predictions = replace(
        some_predictions(40),
        labels=(15 * sure[:, 0]).astype(int) % 2,  # one bin is right, the next one wrong
        probabilities=np.hstack([sure, (1 - sure) / 2, (1 - sure) / 2]),
    )
    figure = plots.reliability(predictions, "a network", temperature_scaled(predictions, 1.1))
    assert inside(figure)
    above = figure.axes[0]
    box, frame = above.get_legend().get_window_extent(), above.get_window_extent().padded(-4)
    assert not box.overlaps(figure._suptitle.get_window_extent())
    assert set(above.lines[1].get_ydata()) == {0, 1}
    for line in above.lines[1:]:
        for place in above.transData.transform(line.get_xydata()):
            assert not box.padded(2).contains(*place)
            assert frame.contains(*place)


GRID = MapGeometry((2, 2), (0, 0))


def test_trust_shows_curves_scores_and_correlations():
    random = np.random.default_rng(0)

    def some(count: int) -> Removal:
        return Removal(np.array([0, 0.1, 0.3]), *random.random((2, count, 3), np.float32))

    removals = {
        "correctly classified": {"map": some(9), "random": some(9)},
        "misclassified": {"map": some(1), "random": some(1)},
    }
    correlations = {"gradcam": {"linear": np.array([0.5, 0.7]), "layer4": np.array([0.1, 0.1])}}
    *above, scores, sanity = plots.trust(Trust(removals, correlations, GRID), "a title").axes
    titles = [axes.get_title() for axes in above]
    assert titles == ["9 correctly classified images", "1 misclassified image"]
    for axes, maps in zip(above, removals.values(), strict=True):
        drawn = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 3]
        expected = [curves.mean(0) for one in maps.values() for curves in (one.morf, one.lerf)]
        np.testing.assert_allclose(drawn, expected)
    assert [label.get_text() for label in scores.get_yticklabels()] == ["map", "random"]
    marked = [container.lines[0].get_xdata() for container in scores.containers]
    means = [[one.score.mean() for one in maps.values()] for maps in removals.values()]
    np.testing.assert_allclose(marked, means)
    np.testing.assert_allclose(sanity.lines[0].get_ydata(), [1, 0.6, 0.1])
    assert [text.get_text() for text in sanity.get_legend().get_texts()] == ["Grad-CAM"]


@pytest.mark.parametrize("sure", [0.3, 0.9])
def test_trust_s_legend_hides_no_curve(sure):
    falling = sure * np.linspace(1, 0.5, 4) * np.ones((5, 1))
    one = Removal(np.array([0, 0.1, 0.3, 0.6]), falling, np.full((5, 4), sure))
    maps = dict.fromkeys(("map", "random", "centre", "edges"), one)
    removals = {"correctly classified": maps, "misclassified": maps}
    figure = plots.trust(Trust(removals, {"gradcam": {"linear": np.array([0.5])}}, GRID))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    box = axes.get_legend().get_window_extent()
    for line in axes.lines:
        if len(line.get_xdata()):
            ends = axes.transData.transform(line.get_xydata())
            along = np.linspace(ends[:-1], ends[1:], 20).reshape(-1, 2)
            assert not any(box.contains(*place) for place in along)
