import re

import numpy as np
import pytest
from answers import made_up
from small import tiny_network

from pytorch_vision.analysis import Predictions, lessons_learned, trust_lessons
from pytorch_vision.analysis.trust import Trust
from pytorch_vision.app.settings import Settings
from pytorch_vision.data.cifar10 import CIFAR10_CLASSES
from pytorch_vision.explain.geometry import MapGeometry
from pytorch_vision.explain.removal import Removal
from pytorch_vision.models import Classifier


def answered(answers: list[tuple[int, int, int]], names: tuple[str, ...]) -> Predictions:
    """Predictions by true class, predicted class (60 %) and second guess (40 %)."""
    (labels, predicted, second), one_hot = np.array(answers).T, np.eye(len(names))
    return made_up(labels, 0.6 * one_hot[predicted] + 0.4 * one_hot[second], names)


def test_what_errors_have_in_common(tiny):
    names = ("ant", "b*e", "cow")
    answers = [(0, 0, 1)] * 6 + [(1, 1, 0)] * 2 + [(0, 1, 2), (1, 0, 1), (2, 0, 2), (2, 2, 0)]
    told = lessons_learned(tiny, answered(answers, names))
    assert "75.00 % of 12 test images are correctly classified" in told
    assert "would be right for at most 58 %" in told  # 7 of 12
    assert "of 3 errors, 2 (67 %) take *ant* for *b\\*e*" in told
    assert "*cow* is found least often (50.0 % of its images) and *ant* most often (85.7 %)" in told
    assert "in 2 (67 %), the true class was the second guess" in told
    assert "probability of 60 % or more, the surest with 60 %" in told
    assert "87.12" not in told  # these are no images of CIFAR-10


def test_without_errors_there_is_nothing_in_common(tiny):
    told = lessons_learned(tiny, answered([(0, 0, 1), (1, 1, 0)], ("ant", "bee")))
    assert "100.00 % of 2 test images" in told
    assert "have in common.** There are none." in told


def test_the_original_is_compared_on_the_same_images_only(tiny):
    some = answered([(0, 0, 1), (1, 0, 1)] * 50, CIFAR10_CLASSES)
    told = lessons_learned(tiny, some)
    assert "87.12 % cannot be compared with this" in told
    assert '`DATA = "full"`' in told
    told = lessons_learned(tiny, some.select(np.arange(10_000) % 100))
    assert "The original notebook, ResNet18 after 20 epochs, had 87.12 % of the same images" in told
    assert '`DATA = "full"`' not in told


@pytest.mark.parametrize("classes", [CIFAR10_CLASSES, ("ant", "bee")])
@pytest.mark.parametrize("count", [2, 10_000])
@pytest.mark.parametrize("network", ["ResNet18", "CustomResNet", tiny_network()])
def test_each_of_the_three_steps_is_a_setting(few, classes, count, network):
    classifier = Classifier(network, few, description="ResNet18, as its description says")
    told = lessons_learned(classifier, answered([(0, 0, 1)] * (count - 1) + [(1, 0, 1)], classes))
    steps = re.findall(r"^\d\. `([A-Z]+) = (.+)`: .*[a-z0-9]\.$", told, re.MULTILINE)
    assert len(dict(steps)) == 3
    if classes == CIFAR10_CLASSES:
        assert ("MODEL", '"CustomResNet"') in steps or network != "ResNet18"
        assert ("MODEL", '"ResNet18"') in steps or network == "ResNet18"
    for setting, value in steps:
        if "photographs" not in value:  # a folder that the reader has
            Settings.from_notebook({setting: value.strip('"')}, prefix="NONE_")


GRID = MapGeometry((2, 2), (0, 0))


def gap(width: float, count: int = 20) -> Removal:
    """Return curves with a mean gap of ``width``, which varies a little between images."""
    widths = width + np.linspace(-0.01, 0.01, count)[:, None]
    lerf = np.full((count, 2), 0.9)
    return Removal(np.array([0, 0.6]), lerf - widths, lerf)


@pytest.mark.parametrize(
    ("ours", "centre", "sentence"),
    [
        (0.3, 0.2, "Grad-CAM's is wider than any of them"),
        (0.2, 0.3, "So *centre* marks what the network needs better than Grad-CAM"),
        (0.2, 0.2, "Between Grad-CAM and *centre* these images show no clear difference"),
    ],
)
def test_what_the_maps_are_worth_is_computed(tiny, ours, centre, sentence):
    maps = {"Grad-CAM": gap(ours), "random": gap(0.0), "centre": gap(centre)}
    nothing = {name: gap(0.1, 0) for name in maps}
    randomized = {
        "gradcam": {"linear": np.array([0.1, 0.2]), "conv": np.zeros(2)},
        "eigencam": {"linear": np.ones(2), "conv": np.zeros(2)},
    }
    measured = Trust({"correctly classified": maps, "misclassified": nothing}, randomized, GRID)
    told = trust_lessons(measured, tiny)
    assert f"On 20 correctly classified images, Grad-CAM's mean gap is {ours:.2f}" in told
    assert f"centre {centre:.2f}" in told
    assert sentence in told
    assert "misclassified images" not in told  # there was none to test
    assert "last layer (`linear`) alone, the rank correlation" in told
    assert "Grad-CAM 0.15, Eigen-CAM 1.00. A map" in told
    assert "Grad-CAM's does most, Eigen-CAM's least." in told
    assert "its cells lie 2 pixels apart, in an image of 32" in told
    assert "when the 60 % of the pixels that Grad-CAM calls least important" in told
    assert told.count("\n") == 3


def test_without_removals_only_the_resolution_is_told(tiny):
    nothing = {"Grad-CAM": gap(0.1, 0)}
    told = trust_lessons(Trust({"misclassified": nothing}, {}, GRID), tiny)
    assert told.startswith("- The map is rough")
