from dataclasses import replace

import numpy as np
import pytest
from answers import answered
from small import EXACT

from pytorch_vision.analysis import (
    METHODS,
    Predictions,
    baseline_maps,
    correctly_classified,
    grad_cam,
    measure_trust,
    misclassified,
    plots,
    removal,
)
from pytorch_vision.explain import map_geometry


def predictions_with(data, errors: int, count: int) -> Predictions:
    """Return predictions of ``count`` images, the first ``errors`` of which are misclassified."""
    shown = np.arange(count) % len(data.train_labels)
    labels = data.train_labels[shown]
    predicted = (labels + (np.arange(count) < errors)) % 10
    return replace(answered(labels, predicted, data.class_names), images=data.train_images[shown])


@pytest.mark.parametrize(
    ("errors", "count", "tested"),
    [
        (3, 60, (47, 3)),  # few errors: correct answers take their place
        (0, 20, (20, 0)),
        (20, 20, (0, 20)),
        (60, 600, (30, 30)),  # a tenth
    ],
)
def test_some_of_both_groups_are_tested_and_drawn(few, tiny, errors, count, tested):
    trust = measure_trust(tiny, predictions_with(few, errors, count), EXACT)
    assert trust.geometry == map_geometry(tiny)
    assert list(trust.removals) == ["correctly classified", "misclassified"]
    for maps, number in zip(trust.removals.values(), tested, strict=True):
        assert list(maps) == ["Grad-CAM", "random", "centre", "edges"]
        assert {one.score.shape for one in maps.values()} == {(number,)}
    assert list(trust.randomized) == list(METHODS)
    for correlations in trust.randomized.values():
        assert list(correlations) == ["7", "3", "1", "0"]
        assert {values.shape for values in correlations.values()} == {(tested[0],)}
    plots.trust(trust, "a network").draw_without_rendering()


def test_trust_is_measured_on_all_classes_of_a_folder(few, tiny):
    """Its images come class by class: the first right answers would be of the first class."""
    order = np.argsort(few.train_labels, kind="stable")
    folder = predictions_with(few, 0, 100).select(order)
    measured = measure_trust(tiny, folder, EXACT).removals["correctly classified"]["random"]
    sample = correctly_classified(folder, 50)
    assert np.bincount(sample.labels).tolist() == [5] * 10
    expected = tiny.predict(sample.images, EXACT)[np.arange(50), sample.labels]
    np.testing.assert_allclose(measured.morf[:, 0], expected, atol=1e-6)


def test_removal_is_asked_for_the_predicted_classes(few, tiny):
    predictions = predictions_with(few, 3, 9)
    removals = measure_trust(tiny, predictions, EXACT).removals
    groups = (correctly_classified(predictions), misclassified(predictions))
    for group, measured in zip(groups, removals.values(), strict=True):
        images, classes = group.images, group.predicted
        maps = {"Grad-CAM": grad_cam(tiny, images, classes), **baseline_maps(images)}
        for name, one in removal(tiny, images, classes, maps, machine=EXACT).items():
            assert np.array_equal(measured[name].morf, one.morf), name
            assert np.array_equal(measured[name].lerf, one.lerf), name
