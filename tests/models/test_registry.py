import re
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
import torchvision
from small import tiny_network
from torch import nn

from pytorch_vision.data import Normalization
from pytorch_vision.models import Classifier, ResNet, create
from pytorch_vision.models.registry import MODELS, describe_network, network_name, only_size

NAME = "torchvision:mobilenet_v3_small@DEFAULT"
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def differing(one: nn.Module, other: nn.Module) -> list[str]:
    """Return the names of the tensors that two networks of one architecture do not share."""
    states = zip(one.state_dict().items(), other.state_dict().values(), strict=True)
    return [name for (name, tensor), theirs in states if not torch.equal(tensor, theirs)]


@pytest.mark.parametrize(
    "name", [*MODELS, "torchvision:mobilenet_v3_small", "torchvision:googlenet"]
)
def test_each_is_made_by_its_name(name):
    with torch.device("meta"):  # shapes without numbers
        model = create(name, 3).train()
        assert network_name(model) == name
        assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


def test_options_go_to_the_network():
    standard = create("ResNet34", conv_padding="standard")
    assert describe_network(standard) == "ResNet34 (conv_padding='standard')"
    assert describe_network(create("ResNet18")) == "ResNet18 (conv_padding='original')"
    assert describe_network(ResNet((1, 1, 1, 1), 3)) == "ResNet10 (conv_padding='original')"
    refusal = "model 'CustomResNet' cannot be made with num_classes=10, conv_padding='standard': "
    with pytest.raises(ValueError, match=refusal):
        create("CustomResNet", conv_padding="standard")


def test_timms_come_with_weights_except_for_other_classes(tmp_path, path):
    kept = create("timm:resnet10t", 10, pretrained=False)
    torch.save(kept.state_dict(), tmp_path / "resnet10t.pth")
    local = {"file": str(tmp_path / "resnet10t.pth"), "num_classes": 10}
    model = create("timm:resnet10t", 3, pretrained_cfg_overlay=local)
    assert differing(model, kept) == ["fc.weight", "fc.bias"]
    classifier = Classifier(model, class_names=list("abc"), size=(32, 32))
    assert classifier.normalization == IMAGENET
    classifier.save(path)
    again = Classifier.load(path)  # downloads nothing
    assert differing(again.network, model) == []


def test_a_missing_timm_is_named_and_its_networks_are_suggested(monkeypatch):
    with pytest.raises(ValueError, match="timm has no network 'resnet10'; did you mean "):
        create("timm:resnet10")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModuleNotFoundError, match="timm:NAME need timm: pip install timm"):
        create("timm:resnet10t")


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("ResNet18", None),
        ("module:function", None),
        ("torchvision:resnet18@DEFAULT", None),
        ("torchvision:regnet_y_400mf@DEFAULT", None),
        ("torchvision:vit_b_16@DEFAULT", (224, 224)),
        ("timm:resnet18.no_such_weights", None),
        ("timm:resnet10t", None),
        ("timm:vit_tiny_patch16_224", (224, 224)),
        ("timm:vit_small_patch14_dinov2", (518, 518)),
    ],
)
def test_the_only_size_of_images_that_a_network_takes(name, size):
    assert only_size(name) == size


def test_the_normalization_of_a_network_inside_another_is_found(few):
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    body.pretrained_cfg = {"mean": IMAGENET.mean, "std": IMAGENET.std}
    classifier = Classifier(nn.Sequential(body, nn.Linear(4, 10)), few)
    assert classifier.normalization == IMAGENET
    assert not classifier.normalized_by_data


def test_a_custom_function_makes_a_network(tmp_path, monkeypatch):
    (tmp_path / "networks_of_mine.py").write_text(
        "from torch import nn\n"
        "def small(num_classes, width=4):\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),\n"
        "                         nn.Linear(width, num_classes))\n"
        "def wrong(num_classes):\n"
        "    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, ""])
    model = create("networks_of_mine:small", 5, width=6)
    assert isinstance(model, nn.Sequential)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 5)
    assert describe_network(model) == "networks_of_mine:small (width=6)"
    with pytest.raises(ValueError, match=r"networks_of_mine:wrong made int, expected a torch\.nn"):
        create("networks_of_mine:wrong")
    with pytest.raises(ValueError, match="networks_of_mine:large, which cannot be imported"):
        create("networks_of_mine:large")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ResNet19", "'ResNet19', expected one of ResNet18, ResNet34, CustomResNet, torch"),
        ("resnet18", r"'resnet18'.*; did you mean ResNet18 or .*torchvision:resnet18"),
        ("RestNet18", r"did you mean ResNet18 or "),
        ("VGG11", r"'VGG11'.*; did you mean torchvision:vgg11 or"),
        ("torchvision:resnet19", r"torchvision has no network 'resnet19'; did you mean .*resnet18"),
        ("torchvision:zzzz", "torchvision has no network 'zzzz'; it has alexnet, "),
        ("torchvision:resnet18@BEST", "no weights 'BEST' for resnet18; it has IMAGENET1K_V1"),
        ("not_there:function", "not_there:function, which cannot be imported: No module named"),
        ("not there:function", "cannot be imported"),
    ],
)
def test_an_unknown_model_is_named(name, message):
    with pytest.raises(ValueError, match=message):
        create(name)


def test_zero_classes_are_refused():
    for name in (*MODELS, "torchvision:vgg11"):
        with pytest.raises(ValueError, match="num_classes is 0, expected 1 or more"):
            create(name, 0)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """Return torch.hub's folder, which is empty; there is no internet."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", mock.Mock(side_effect=OSError("no net")))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def theirs(hub) -> nn.Module:
    """Put random weights for a thousand classes there; return the network that has them."""
    torch.manual_seed(7)
    network = torchvision.models.get_model("mobilenet_v3_small")
    torch.save(network.state_dict(), hub / "mobilenet_v3_small-047dcff4.pth")
    return network


def test_a_network_begins_with_torchvisions_weights(few, theirs, tmp_path, path):
    """All of them fit a thousand classes; the last layer of other classes is new."""
    assert differing(create(NAME, 1000), theirs) == []
    classifier = Classifier(NAME, few)
    assert differing(classifier.network, theirs) == ["classifier.3.weight", "classifier.3.bias"]
    named = Classifier(NAME, class_names=["a", "b"], size=(64, 64))
    assert classifier.normalization == named.normalization == IMAGENET
    unit = Normalization((0,) * 3, (1,) * 3)
    assert Classifier(NAME, few, normalization=unit).normalization == unit
    classifier.save(path)
    for file in tmp_path.glob("checkpoints/*"):
        file.unlink()
    loaded = Classifier.load(path)  # needs no download
    assert loaded.normalization == IMAGENET
    assert differing(loaded.network, classifier.network) == []


def test_weights_with_torchvisions_older_names_are_loaded(hub):
    network = torchvision.models.get_model("densenet121")
    old = {
        re.sub(r"(denselayer\d+\.\w+)(\d)\.", r"\1.\2.", name): tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert old.keys() != network.state_dict().keys()
    torch.save(old, hub / "densenet121-a639ec97.pth")
    loaded = create("torchvision:densenet121@DEFAULT", 2)
    assert differing(loaded, network) == ["classifier.weight", "classifier.bias"]


def test_weights_that_cannot_be_downloaded_or_read_are_named(hub):
    reason = rf"weights of {NAME} cannot be downloaded \(.*\)"
    with pytest.raises(ValueError, match=f"{reason}: put the file from https://.*pth into {hub}"):
        create(NAME)
    file = hub / "mobilenet_v3_small-047dcff4.pth"
    for write in (
        lambda: file.write_bytes(b"no weights"),
        lambda: torch.save(tiny_network().state_dict(), file),
    ):
        write()
        with pytest.raises(ValueError, match=rf"{file} does not hold the weights .*: remove it,"):
            create(NAME)
