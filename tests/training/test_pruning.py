import numpy as np
import pytest

from pytorch_vision.training.pruning import harder


def test_all_harder_images_and_some_easier_ones_are_shown():
    """Four of ten images are left out, chosen from the six with the smallest losses."""
    losses = np.array([5.0, 0.1, 4.0, 0.2, 3.0, 0.3, 2.0, 0.4, 0.5, 0.6])
    times = np.zeros(10, int)
    for epoch in range(300):
        shown = harder(losses, 6, [0, epoch])
        assert len(shown) == 6
        assert (np.diff(shown) > 0).all()
        times[shown] += 1
    assert times[[0, 2, 4, 6]].tolist() == [300] * 4
    assert times[[1, 3, 5, 7, 8, 9]] == pytest.approx(100, abs=41)  # 5 standard deviations


def test_the_seed_decides_the_choice():
    losses = np.random.default_rng(0).random(1000)
    first, again, other = (harder(losses, 500, [0, epoch]) for epoch in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_all_or_a_single_image_can_be_shown():
    assert harder(np.ones(5), 5, [0]).tolist() == [0, 1, 2, 3, 4]
    assert len(harder(np.ones(5), 1, [0])) == 1
