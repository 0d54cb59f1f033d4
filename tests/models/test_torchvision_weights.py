"""torchvision's own weights: with files made by hand, where torch.hub looks for them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from small import tiny_network

from pytorch_vision.app.settings import Settings
from pytorch_vision.data import Normalization
from pytorch_vision.models import Classifier, create
from pytorch_vision.runtime import CheckpointError, Machine

NAME = "torchvision:mobilenet_v3_small@DEFAULT"
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
EXACT = Machine(accelerator="cpu", precision="32-true")


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty folder of torch.hub's, and no way to the network."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(
        "socket.socket.connect", lambda *_: (_ for _ in ()).throw(OSError("no net"))
    )
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def theirs(hub) -> torch.nn.Module:
    """The network of the weights that lie there, which have a thousand classes."""
    torch.manual_seed(7)
    network = torchvision.models.get_model("mobilenet_v3_small")
    torch.save(network.state_dict(), hub / "mobilenet_v3_small-047dcff4.pth")
    return network


def test_a_network_begins_with_them(few, theirs, tmp_path):
    classifier = Classifier(NAME, few)
    own = classifier.network.state_dict()
    new = [k for k, tensor in theirs.state_dict().items() if not torch.equal(own[k], tensor)]
    assert new == ["classifier.3.weight", "classifier.3.bias"]
    assert classifier.normalization == IMAGENET
    assert Classifier(NAME, few, normalization=Normalization((0,) * 3, (1,) * 3)).normalization != (
        IMAGENET
    )
    named = Classifier(NAME, class_names=["a", "b"], size=(64, 64))
    assert named.normalization == IMAGENET
    classifier.save(tmp_path / "weights")
    for path in tmp_path.glob("checkpoints/*"):
        path.unlink()
    loaded = Classifier.load(tmp_path / "weights")  # without them
    assert loaded.normalization == IMAGENET
    assert torch.equal(loaded.network.features[0][0].weight, own["features.0.0.weight"])


def test_all_of_them_fit_a_thousand_classes(theirs):
    own = create(NAME, 1000).state_dict()
    assert all(torch.equal(own[key], tensor) for key, tensor in theirs.state_dict().items())


def test_where_they_cannot_be_fetched_it_says_where_to_put_them(hub, few):
    with pytest.raises(
        ValueError,
        match=rf"weights of {NAME} cannot be fetched \(.*\): put the file from https://.*pth into "
        + str(hub),
    ):
        Classifier(NAME, few)


@pytest.mark.parametrize("content", [b"no weights", b""])
def test_a_damaged_file_is_named(hub, few, content):
    (hub / "mobilenet_v3_small-047dcff4.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"047dcff4.pth does not hold the weights .*: move it awa"):
        Classifier(NAME, few)


def test_weights_of_another_network_are_refused(hub, few):
    torch.save(tiny_network().state_dict(), hub / "mobilenet_v3_small-047dcff4.pth")
    with pytest.raises(ValueError, match=r"does not hold the weights of .*: move it away"):
        Classifier(NAME, few)


def test_an_unknown_name_is_refused_at_once():
    with pytest.raises(ValueError, match="no weights 'BEST' for resnet18; it has IMAGENET1K_V1"):
        Settings.of(model="torchvision:resnet18@BEST")
    assert Settings.of(model=NAME).chosen_recipe == "finetune"


def test_a_file_of_weights_never_has_any_fetched(theirs, few, tmp_path):
    classifier = Classifier(NAME, few)
    classifier.network.made_by = {"name": NAME}
    classifier.save(tmp_path / "weights")
    with pytest.raises(CheckpointError, match="which only you can make"):
        Classifier.load(tmp_path / "weights")


def test_files_are_predicted_as_what_is_in_them(few, tmp_path):
    """A few in float32, many in batches: the same, one by one or together."""
    classifier = Classifier(tiny_network(), few)
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for path, image in zip(paths, few.test_images, strict=False):
        Image.fromarray(image).save(path)
    expected = classifier.predict(few.test_images[:12], EXACT)
    np.testing.assert_allclose(classifier.predict(paths, EXACT), expected, atol=1e-6)
    few_at_once = Machine(accelerator="cpu")
    one = classifier.predict(paths[0], few_at_once)
    np.testing.assert_allclose(one, expected[:1], atol=1e-6)
    some = classifier.predict([str(path) for path in paths[:5]], few_at_once)
    np.testing.assert_allclose(some, expected[:5], atol=1e-6)
    turned = few.test_images[:3, :, ::-1][:, :, ::-1]
    turned.flags.writeable = False
    np.testing.assert_allclose(classifier.predict(turned, few_at_once), expected[:3], atol=1e-6)
    for wrong in ([], [1, 2], ["a.png", 3]):
        with pytest.raises(ValueError, match=r"images are no array uint8 .* no paths"):
            classifier.predict(wrong)


def test_another_network_is_asked_after_a_change(few):
    """What is kept for the next few images is that of the network that was asked."""
    classifier, machine = Classifier(tiny_network(), few), Machine(accelerator="cpu")
    first = classifier.predict(few.test_images[:1], machine)
    with torch.no_grad():
        classifier.network[-1].bias += torch.arange(10.0)
    second = classifier.predict(few.test_images[:1], machine)
    assert not np.allclose(first, second)
    classifier.network = tiny_network()
    np.testing.assert_array_equal(classifier.predict(few.test_images[:1], machine), first)
    classifier.normalization = IMAGENET
    assert not np.allclose(classifier.predict(few.test_images[:1], machine), first)
    classifier.network[-1] = torch.nn.Linear(16, 7)
    with pytest.raises(ValueError, match=r"the network gives \(1, 7\) for one image"):
        classifier.predict(few.test_images[:1], machine)
