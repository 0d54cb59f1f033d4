"""torchvision's own weights: with files made by hand, where torch.hub looks for them."""

from pathlib import Path

import pytest
import torch
import torchvision
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
        match=rf"weights of {NAME} cannot be downloaded \(.*\): put the file from https://.*pth "
        f"into {hub}",
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
