import numpy as np
import pytest
from small import left_alone

from pytorch_vision.explain.randomization import randomization, rank_correlation


def test_a_map_that_uses_no_gradient_does_not_notice_a_new_classifier(tiny, few):
    images, classes = few.test_images[:6], few.test_labels[:6]
    with left_alone(tiny.network):
        correlations = randomization(tiny, images, classes, "3", ("gradcam", "eigencam"), seed=1)
    assert list(correlations) == ["gradcam", "eigencam"]
    # the children that have parameters, from the last to the first
    assert all(list(by_part) == ["7", "3", "1", "0"] for by_part in correlations.values())
    assert correlations["eigencam"]["7"] == pytest.approx(np.ones(6))
    assert correlations["gradcam"]["7"].mean() < 0.9
    assert correlations["eigencam"]["0"].mean() < 0.9


def test_rank_correlation_by_hand():
    rising = np.arange(4.0).reshape(1, 2, 2)
    assert rank_correlation(rising, rising**3) == pytest.approx([1])
    assert rank_correlation(rising, -rising) == pytest.approx([-1])
    assert rank_correlation(rising, np.array([[[0.0, 2], [1, 3]]])) == pytest.approx([0.8])
    assert rank_correlation(rising, np.zeros((1, 2, 2))).tolist() == [0]
    assert rank_correlation(np.zeros((0, 2, 2)), np.zeros((0, 2, 2))).shape == (0,)
