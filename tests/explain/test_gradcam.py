from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pytest
import torch
from networks import Body, Checkpointed, Full, OnePool
from PIL import Image
from small import UNVARIED, tiny_network, without_data
from torch import nn

from pytorch_vision.analysis import grad_cam
from pytorch_vision.data import ImageData, eval_batches
from pytorch_vision.explain import Explainer, NoMapError, map_geometry
from pytorch_vision.explain.gradcam import METHODS
from pytorch_vision.models import Classifier, ResNet
from pytorch_vision.models.resnet import BasicBlock
from pytorch_vision.training import TrainConfig, fit


@pytest.fixture(scope="module")
def resnet(few) -> Classifier:
    """An untrained network whose BatchNorm knows the images, so that every layer is alive."""
    torch.manual_seed(0)
    classifier = Classifier(ResNet((1, 1, 1, 1)), few)
    for module in classifier.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of what it sees
    with torch.no_grad():
        classifier.network(next(eval_batches(few.train_images, classifier.normalization)))
    classifier.network.eval()
    return classifier


def coloured_squares(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return grey noise, the class of the coloured 5-pixel square on it, and its centre."""
    colours = np.array([[220, 40, 40], [40, 200, 40], [50, 50, 230], [220, 200, 40]], np.uint8)
    random = np.random.default_rng(seed)
    images = random.integers(96, 160, (count, 32, 32, 1), np.uint8).repeat(3, axis=-1)
    labels, centres = random.integers(0, 4, count), random.integers(2, 30, (count, 2))
    for image, label, (y, x) in zip(images, labels, centres, strict=True):
        image[y - 2 : y + 3, x - 2 : x + 3] = colours[label]
    return images, labels, centres


def test_maps_point_at_the_object_that_decides_the_class():
    """Half of a cell's diagonal is 5.7 pixels: no map of this layer can point much better.

    The network has ResNet18's geometry, a quarter of its channels and one block a stage. Deeper
    ones, trained for so short a time, see the square from many cells at once, and their maps are as
    wide wherever they lie.
    """
    train_images, train_labels, _ = coloured_squares(300, seed=0)
    images, labels, centres = coloured_squares(150, seed=1)
    names = ("red", "green", "blue", "yellow")
    data = ImageData(train_images, train_labels, images, labels, names, "coloured squares")
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 16, 3, padding=3, bias=False), nn.BatchNorm2d(16), nn.ReLU()
    stages = [BasicBlock(16, 16, 1, 0), *(BasicBlock(n, 2 * n, 2, 1) for n in (16, 32, 64))]
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 4)
    classifier = Classifier(nn.Sequential(*stem, *stages, *head), data)
    assert map_geometry(classifier) == map_geometry(Classifier("ResNet18", data), "layer4")
    history = fit(classifier, data, TrainConfig(epochs=1, batch_size=16, augmentation=UNVARIED))
    assert history.records[-1].test_accuracy > 95
    shares = {}
    for aligned in (True, False):
        maps = grad_cam(classifier, images, labels, aligned=aligned)
        flat = maps.reshape(len(maps), -1).argmax(axis=1)
        peaks = np.stack(np.unravel_index(flat, (32, 32)), axis=1)
        shares[aligned] = np.mean(np.hypot(*(peaks - centres).T) <= 6)
    assert shares[True] >= 0.9
    assert shares[True] > shares[False]


def test_a_single_bright_cell_is_drawn_where_it_lies():
    """With an identity for a network the map is the image, cell for cell."""

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.cells = nn.Conv2d(3, 1, 1, stride=8, bias=False)
            nn.init.ones_(self.cells.weight)

        def forward(self, x):
            return self.cells(x).mean(dim=(2, 3)).repeat(1, 2)

    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, 8, 24] = 255  # cell (1, 3)
    pooled = without_data(Pooled(), "ant", "bee")
    aligned = grad_cam(pooled, image, [0], "cells")
    assert np.unravel_index(aligned[0].argmax(), (32, 32)) == (8, 24)
    assert aligned[0, 8, 24] == 1
    assert aligned[0, 8, 20] == pytest.approx(0.5)  # half-way to the next cell
    assert aligned[0, 8, 16] == pytest.approx(0, abs=1e-6)
    stretched = grad_cam(pooled, image, [0], "cells", aligned=False)
    assert np.unravel_index(stretched[0].argmax(), (32, 32)) != (8, 24)


def test_maps_are_scaled_to_1_and_independent_of_the_batch(resnet, few):
    """Alone, among few, and in several threads."""
    images, classes, explainer = few.test_images[:8], few.test_labels[:8], Explainer(resnet)
    maps = explainer.maps(images, classes)
    assert maps.shape == (8, 32, 32)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert set(maps.max(axis=(1, 2)).tolist()) <= {0.0, 1.0}
    np.testing.assert_allclose(maps, explainer.maps(images, classes, batch_size=3), atol=1e-4)
    with ThreadPoolExecutor(4) as pool:
        alone = pool.map(lambda i: explainer.maps(images[i : i + 1], classes[i : i + 1]), range(8))
        np.testing.assert_allclose(np.concatenate(list(alone)), maps, atol=1e-4)


def test_an_explainer_is_made_once_and_asked_often(tiny, few):
    copies = []

    class Counted(nn.Sequential):
        def __reduce_ex__(self, protocol):
            copies.append(None)
            return super().__reduce_ex__(protocol)

    classifier = tiny.with_network(Counted(*tiny.network))
    explainer = Explainer(classifier)
    assert explainer.layer == "4"
    assert explainer.geometry == map_geometry(classifier, "4")
    copies.clear()
    for _ in range(2):
        maps = explainer.maps(few.test_images[:2], [0, 1])
        assert not any(module._forward_hooks for module in explainer.network.modules())
    assert not copies
    assert np.array_equal(maps, grad_cam(tiny, few.test_images[:2], [0, 1]))


def test_a_photograph_of_twelve_megapixels_is_explained_in_three_lines(tiny, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    path = tmp_path / "cat.jpg"
    Image.fromarray(noise).resize((4000, 3000)).save(path)
    explainer = Explainer(tiny)
    explanation = explainer.explain(path, top=2)
    probabilities = tiny.predict(path)[0]
    likely = probabilities.argsort()[::-1][:2]
    assert explanation.name == "cat.jpg"
    assert explanation.image.shape == (32, 32, 3)
    assert explanation.class_names == tuple(tiny.class_names[label] for label in likely)
    assert np.array_equal(explanation.probabilities, probabilities[likely])
    images = explanation.image[None].repeat(2, axis=0)
    np.testing.assert_allclose(explanation.maps, explainer.maps(images, likely), atol=1e-5)
    assert str(explanation).startswith(f"{explanation.class_names[0]} (1")
    with Image.open(path) as picture:
        assert str(explainer.explain(picture, top=2)) == str(explanation)
    assert len(explainer.explain(path, top=99).maps) == 10
    assert str(explainer.explain(explanation.image, top=2)) == str(explanation)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_gradient_checkpointing_gives_the_same_maps(few, reentrant):
    classes, methods = np.array([[0, 1], [2, 3]]), ["gradcam", "eigencam"]
    usual, checkpointed = Body(), Checkpointed(reentrant)
    checkpointed.load_state_dict(usual.state_dict())
    maps, expected = (
        grad_cam(Classifier(network, few), few.test_images[:2], classes, "conv2", methods)
        for network in (checkpointed, usual)
    )
    np.testing.assert_allclose(maps, expected, atol=1e-6)


@pytest.mark.parametrize("aligned", [True, False])
def test_several_methods_and_classes_come_from_the_same_passes_and_differ(resnet, few, aligned):
    images, classes = few.test_images[:3], np.array([[0, 1, 2], [3, 4, 5]])
    passes = []
    handle = resnet.network.linear.register_forward_hook(
        lambda _m, inputs, _o: passes.append(len(inputs[0]))
    )
    # behind layer4 there is only a mean, where Grad-CAM and XGrad-CAM are the same
    explainer = Explainer(resnet, "layer3")
    passes.clear()
    maps = explainer.maps(images, classes, list(METHODS), aligned)
    handle.remove()
    assert passes == [3]  # forward; the classes differ on the way back
    assert maps.shape == (4, 2, 3, 32, 32)
    assert np.isfinite(maps).all()
    assert maps.min() >= 0
    assert maps.max(axis=(1, 2, 3, 4)).tolist() == [1] * 4
    assert not any(np.allclose(one, other) for one, other in combinations(maps, 2))
    for method, ours in zip(METHODS, maps, strict=True):
        assert np.array_equal(ours, explainer.maps(images, classes, method, aligned)), method
        for row, own in zip(classes, ours, strict=True):
            assert np.array_equal(own, explainer.maps(images, row, method, aligned)), method
    assert explainer.maps(images, classes[0], ["xgradcam"]).shape == (1, 3, 32, 32)


def test_of_no_image_there_is_no_map(resnet, few):
    explainer, none = Explainer(resnet), few.test_images[:0]
    assert explainer.maps(none, []).shape == (0, 32, 32)
    assert explainer.maps(none, np.zeros((2, 0), int)).shape == (2, 0, 32, 32)
    assert explainer.maps(none, [], list(METHODS)).shape == (4, 0, 32, 32)


@pytest.mark.parametrize("method", ["gradcam", "eigencam"])
def test_a_layer_that_is_called_twice_is_explained_by_its_last_call(few, method):
    shared, own = OnePool(), OnePool(nn.MaxPool2d(2, 2))
    own.load_state_dict(shared.state_dict())
    assert Explainer(Classifier(shared, few)).layer == "pool"
    maps = [
        grad_cam(Classifier(network, few), few.test_images[:5], np.arange(5), layer, method)
        for network, layer in ((shared, "pool"), (own, "last"))
    ]
    np.testing.assert_array_equal(*maps)
    assert maps[0].max() == 1


def test_a_network_that_torchscript_compiled_is_not_explained(few):
    scripted = Classifier(torch.jit.script(tiny_network()), few)
    with pytest.raises(NoMapError, match="TorchScript, which hides its layers: load its weights"):
        Explainer(scripted)


def test_a_map_is_grad_cams_formula(resnet, few):
    """ReLU of the channels' sum, each weighed by its mean gradient, stretched over the image."""
    kept = []
    handle = resnet.network.layer4.register_forward_hook(lambda _m, _i, output: kept.append(output))
    pixels = torch.from_numpy(few.test_images[:1]).permute(0, 3, 1, 2) / 255
    statistics = (resnet.normalization.mean, resnet.normalization.std)
    mean, std = (torch.tensor(values)[:, None, None] for values in statistics)
    logits = resnet.network(((pixels - mean) / std).float())
    handle.remove()
    gradient = torch.autograd.grad(logits[0, 4], kept[0])[0]
    cells = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1, keepdim=True).relu()
    expected = nn.functional.interpolate(cells, (32, 32), mode="bilinear")[0, 0].detach()
    ours = grad_cam(resnet, few.test_images[:1], [4], aligned=False)[0]
    np.testing.assert_allclose(ours, expected / expected.max(), atol=1e-4)


def test_a_layer_that_no_gradient_reaches_is_named(few):
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.cells, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

        def forward(self, x):
            return self.linear(self.cells(x).detach().mean(dim=(2, 3)))

    arguments = (without_data(Detached(), "ant", "bee"), few.test_images[:1], [0], "cells")
    with pytest.raises(NoMapError, match="no gradient of the logits reaches layer 'cells'"):
        grad_cam(*arguments)
    assert grad_cam(*arguments, method="eigencam").shape == (1, 32, 32)


@pytest.mark.parametrize(
    ("call", "message"),
    [(1, "no memory for a copy of the network"), (3, "maps of 8 images at once; try batch_size=4")],
)
def test_too_little_memory_is_explained(few, call, message):
    with pytest.raises(MemoryError, match=message):
        grad_cam(Classifier(Full(call), few), few.test_images, few.test_labels, batch_size=8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "layer5"}, r"no layer 'layer5'; it has conv1, bn1, layer1, .*linear"),
        ({"layer": "linear"}, r"layer 'linear' gives \(1, 10\), expected a map"),
        ({"method": ["gradcam", "lime"]}, "method is 'lime', expected one of gradcam, "),
        ({"method": "lime"}, "method is 'lime', expected one of gradcam, "),
        ({"classes": [0]}, "classes is int64 of shape"),
        ({"classes": [99, 0]}, r"class 99 is out of range, expected 0\.\.9"),
        ({"images": np.zeros((2, 32, 32, 3))}, "images is float64"),
        ({"images": np.zeros((2, 16, 32, 3), np.uint8)}, "images are 16x32 pixels, .* takes 32x32"),
    ],
)
def test_wrong_arguments_are_named(resnet, few, change, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(resnet, **{"images": few.test_images[:2], "classes": [0, 1], **change})
