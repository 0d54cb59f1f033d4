import numpy as np
import pytest
import torch
from torch import nn

from pytorch_vision.analysis import blind_maps, describe_removal, grad_cam, interval, removal
from pytorch_vision.analysis.faithfulness import Removal
from pytorch_vision.models import ResNet
from pytorch_vision.training import TrainConfig

UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
EXACT = TrainConfig(precision="32-true")


class SeesASquare(nn.Module):
    """Judges by the brightness of 8x8 pixels alone: class 1 if they are bright."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))

    def forward(self, x):
        brightness = x[:, :, 4:12, 20:28].mean(dim=(1, 2, 3))
        return torch.stack([0 * brightness, self.scale * (brightness - 0.5)], dim=1)


@pytest.fixture(scope="module")
def squares() -> tuple[np.ndarray, np.ndarray]:
    """Dark noise with a bright square where the network looks, and the map that marks it."""
    images = np.random.default_rng(0).integers(0, 60, (40, 32, 32, 3), np.uint8)
    images[:, 4:12, 20:28] = 250
    marked = np.zeros((40, 32, 32), np.float32)
    marked[:, 4:12, 20:28] = 1
    return images, marked


@pytest.fixture(scope="module")
def removals(squares) -> dict[str, Removal]:
    images, marked = squares
    maps = {"square": marked, "inverse": 1 - marked, **blind_maps(images)}
    return removal(SeesASquare(), images, np.ones(40, int), maps, UNIT, config=EXACT)


def test_the_map_that_marks_the_evidence_is_best_and_its_inverse_worst(removals):
    scores = {name: one.score.mean() for name, one in removals.items()}
    assert max(scores, key=scores.get) == "square"
    assert min(scores, key=scores.get) == "inverse"
    assert scores["square"] > 0.5
    assert scores["inverse"] < -0.5
    assert abs(scores["random"]) < 0.1


def test_curves_begin_at_the_whole_image_and_go_the_right_way(removals):
    square = removals["square"]
    assert square.fractions.tolist() == [0, 0.1, 0.3, 0.6]
    assert square.most_first.shape == square.least_first.shape == (40, 4)
    assert np.array_equal(square.most_first[:, 0], square.least_first[:, 0])
    assert (square.most_first[:, 0] > 0.95).all()
    assert (square.most_first[:, 1] < 0.2).all()  # 64 of 1,024 pixels are in the first 10 %
    assert (square.least_first > 0.95).all()  # the square is in the last 40 %
    assert square.score == pytest.approx(square.least_first_area - square.most_first_area)
    assert np.array_equal(square.select(np.arange(3)).most_first, square.most_first[:3])


def test_areas_by_hand():
    one = Removal(np.array([0, 0.5, 1]), np.array([[1, 0.5, 0]]), np.array([[1, 1, 0]], np.float32))
    assert one.most_first_area == pytest.approx([0.5])
    assert one.least_first_area == pytest.approx([0.75])
    assert one.score == pytest.approx([0.25])


def test_a_flat_map_is_as_good_as_chance(squares):
    """Pixels of equal importance must not go row by row."""
    images, marked = squares
    flat = {"flat": np.zeros_like(marked)}
    found = removal(SeesASquare(), images, np.ones(40, int), flat, UNIT, config=EXACT)
    low, high = interval(found["flat"].score, 0.99)
    assert low < 0 < high


def test_on_an_untrained_network_there_is_nothing_to_find(sample):
    """Its answer hardly depends on the image.

    Maps that do not follow its gradient stay within the interval around chance. Those that do are
    faithful even to a network of random weights, but to an answer that moves by 0.0001.
    """
    torch.manual_seed(0)
    model = ResNet((1, 1, 1, 1), 10, "standard")
    images, classes = sample.test_images[:100], sample.test_labels[:100]
    by_method = {
        method: grad_cam(model, images, classes, sample.mean_and_std, method=method)
        for method in ("gradcam", "eigencam")
    }
    maps = {**by_method, **blind_maps(images)}
    found = removal(model, images, classes, maps, sample.mean_and_std, config=EXACT)
    assert all(abs(one.score.mean()) < 0.001 for one in found.values())
    for name in ("eigencam", "centre", "edges"):
        low, high = interval(found[name].score - found["random"].score, 0.99)
        assert low < 0 < high, name


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(tiny, few, training):
    tiny.train(training)
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    maps = blind_maps(few.test_images)
    given = (few.test_images, few.test_labels, maps, few.mean_and_std)
    config = TrainConfig(accelerator="cpu")  # where the same bits are promised
    again = [removal(tiny, *given, config=config) for _ in range(2)]
    assert tiny.training is training
    assert all(torch.equal(before[n], tensor) for n, tensor in tiny.state_dict().items())
    for name in maps:
        assert np.array_equal(again[0][name].score, again[1][name].score)


def test_blind_maps_know_only_the_image(few):
    images = few.test_images.copy()
    images[0] = 7
    images[0, :, 16:] = 200
    maps = blind_maps(images)
    assert {one.shape for one in maps.values()} == {images.shape[:3]}
    assert np.unravel_index(maps["edges"][0].argmax(), (32, 32))[1] in (15, 16)
    assert maps["centre"][3].argmax() in (15 * 32 + 15, 15 * 32 + 16, 16 * 32 + 15, 16 * 32 + 16)
    assert maps["centre"][3].argmin() in (0, 31, 31 * 32, 31 * 32 + 31)
    assert not np.array_equal(maps["random"][0], maps["random"][1])


def test_an_interval_holds_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    hits = 0
    for seed in range(100):
        low, high = interval(random.normal(0.3, 1, 60), seed=seed)
        hits += low < 0.3 < high
    assert 88 <= hits <= 99


def test_where_there_is_no_image_there_is_no_score(tiny, few):
    none = few.test_images[:0]
    found = removal(tiny, none, few.test_labels[:0], blind_maps(none), few.mean_and_std)
    assert {one.score.shape for one in found.values()} == {(0,)}


def test_one_image_has_no_interval():
    assert np.isnan(interval(np.array([0.3]))).all()


def test_the_sentence(removals):
    text = describe_removal(removals["square"], removals["random"])
    fallen = removals["square"].most_first[:, 2].mean()
    assert f"from {removals['square'].most_first[:, 0].mean():.0%} to {fallen:.0%}" in text
    assert "When the 30% of the pixels" in text
    assert text.endswith(f"to {removals['random'].most_first[:, 2].mean():.0%}.")


def test_wrong_arguments_are_named(tiny, few):
    arguments = (tiny, few.test_images, few.test_labels)
    with pytest.raises(ValueError, match=r"map 'short' is \(3, 32, 32\), expected \(50, 32, 32\)"):
        removal(*arguments, {"short": np.zeros((3, 32, 32))}, few.mean_and_std)
    for fractions in ((), (0.5, 0.2), (0.0, 0.5), (0.5, 1.0)):
        with pytest.raises(ValueError, match="expected rising numbers between 0 and 1"):
            removal(*arguments, {}, few.mean_and_std, fractions)
