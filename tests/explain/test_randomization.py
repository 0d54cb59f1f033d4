import numpy as np
import pytest
import torch
from networks import Body
from small import State, left_alone, state_of
from torch import Tensor, nn

from pytorch_vision.explain.randomization import randomization, rank_correlation
from pytorch_vision.models import Classifier


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


class WithToken(Body):
    """Has parameters of its own, and attention, which has no public function to reset them."""

    states: list[State] = []  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.rand(10))
        self.order = nn.Parameter(torch.arange(3), requires_grad=False)  # it has no spread
        self.attention = nn.MultiheadAttention(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.states.append(state_of(self))
        return super().forward(x) * self.token


def test_all_parameters_that_differ_among_themselves_are_randomised(few):
    randomization(Classifier(WithToken(), few), few.test_images[:1], few.test_labels[:1])
    first, last = WithToken.states[0], WithToken.states[-1]
    same = [name for name in first if torch.equal(first[name], last[name])]
    assert same == ["order", "attention.in_proj_bias"]  # which is zero


def test_rank_correlation_by_hand():
    rising = np.arange(4.0).reshape(1, 2, 2)
    assert rank_correlation(rising, rising**3) == pytest.approx([1])
    assert rank_correlation(rising, -rising) == pytest.approx([-1])
    assert rank_correlation(rising, np.array([[[0.0, 2], [1, 3]]])) == pytest.approx([0.8])
    assert rank_correlation(rising, np.zeros((1, 2, 2))).tolist() == [0]
    assert rank_correlation(np.zeros((0, 2, 2)), np.zeros((0, 2, 2))).shape == (0,)
