import ast
import hashlib
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image
from small import tiny_classifier, tiny_network
from torch import nn

from pytorch_vision.analysis import plots
from pytorch_vision.app.run_folder import RunFolder
from pytorch_vision.app.settings import FIELDS, Settings, default_data
from pytorch_vision.data import Augmentation, Normalization
from pytorch_vision.models import Classifier, ResNet
from pytorch_vision.models.registry import MODELS, describe_network
from pytorch_vision.runtime import Machine
from pytorch_vision.training import TrainConfig, fit

ROOT = Path(__file__).parents[2]


OWN = (
    "data=full root=elsewhere size=48 resize=pad held_out=5 held_out_share=0.1 labels=t.csv "
    "model=ResNet34 conv_padding=standard filters=identity weights=some.safetensors recipe=default "
    "checkpoints=kept keep_on_drive=False order=spread count=3 split=train output=pictures "
    "overwrite=True"
)
RECIPE = (
    "epochs=3 batch_size=64 seed=4 optimizer=sgd muon_learning_rate=0.3 learning_rate=0.4 "
    "transfer=near train=head warm_up=0.2 momentum=0.5 nesterov=False "
    "weight_decay=0.6 label_smoothing=0.7 class_weights=0.3 average_weights=False "
    "progressive_resizing=0.8 pruning=0.9"
)
AUGMENTATION = "padding=2 flip=none cutout=8 cutout_probability=0.25"
MACHINE = "accelerator=cpu devices=2 precision=bf16-mixed"


def test_each_setting_goes_to_its_part():
    own, recipe, augmentation, machine = (
        dict(pair.split("=") for pair in text.split())
        for text in (OWN, RECIPE, AUGMENTATION, MACHINE)
    )
    settings = Settings.of(**own, **recipe, **augmentation, **machine)
    assert {name: str(getattr(settings, name)) for name in own} == own
    assert settings.config == TrainConfig(**recipe, augmentation=Augmentation(**augmentation))
    assert settings.machine == Machine(**machine)
    assert {*own, *recipe, *augmentation, *machine} == set(FIELDS)
    assert all(field.description for field in FIELDS.values())


def test_text_and_numbers_of_numpy_are_converted():
    plain = {"epochs": 5, "learning_rate": 0.5, "cutout": 8, "average_weights": False, "devices": 2}
    types = (np.int64, np.float32, np.uint8, np.bool_, np.int32)
    numbers = {name: make(plain[name]) for name, make in zip(plain, types, strict=True)}
    text = {name: str(value) for name, value in plain.items()}
    found = Settings.of(**numbers)
    assert found == Settings.of(**text) == Settings.of(**plain)
    assert (type(found.config.epochs), type(found.config.learning_rate)) == (int, float)
    assert Settings.of(data=np.int64(2000)).data == Settings.of(data=2000).data == "2000"
    assert [Settings.of(size=one).size for one in ("48x64", (48, 48))] == [(48, 64), 48]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": None}, "epochs is None, expected a whole number"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast', expected a number"),
        ({"learning_rate": "nan"}, "learning_rate is 'nan', expected "),
        ({"recipe": "best"}, "recipe is 'best', expected 'auto', 'default', "),
        ({"order": "last"}, "order is 'last', expected 'first', 'confident'"),
        ({"data": "../elsewhere"}, r"data is '\.\./elsewhere', expected 'full'"),
        ({"model": "ResNet19"}, "model is 'ResNet19', expected one of ResNet18"),
        ({"size": 0}, "size is 0, expected 1 pixel or more"),
        ({"epoch": 3}, "epoch is not a setting; did you mean epochs"),
        ({"muon_rate": 3}, "muon_rate is not a setting; did you mean muon_learning_rate"),
        ({"zzz": 3}, "zzz is not a setting; expected one of data, root, size"),
        ({"steps": 3}, "steps is not a setting"),  # no text can say them
        ({"config": 3}, "config is not a setting"),
    ],
)
def test_a_value_out_of_range_is_named_before_anything_is_trained(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Settings.of(**change)


def test_defaults():
    assert Settings.of().data == Settings.of(data="auto").data == default_data()
    devices = [Settings.of(**one).machine.devices for one in ({}, {"devices": "auto"})]
    assert devices == [1, "auto"]


QUICK_AND_NARROW = TrainConfig.quick(augmentation=Augmentation(cutout=8, padding=1))


@pytest.mark.parametrize(
    ("chosen", "recipe"),
    [
        ({"data": "full"}, TrainConfig()),
        ({"data": "1000"}, TrainConfig()),
        ({"data": "tests"}, TrainConfig()),
        ({"data": "sample"}, TrainConfig.few()),
        ({"data": "sample", "model": "torchvision:resnet18"}, TrainConfig()),
        ({"recipe": "few"}, TrainConfig.few()),
        ({"recipe": "original", "epochs": 2}, TrainConfig.original(epochs=2)),
        ({"model": "CustomResNet"}, TrainConfig.quick()),
        ({"model": "CustomResNet", "recipe": "default"}, TrainConfig()),
        ({"weights": "pretrained"}, TrainConfig.finetune()),
        ({"model": "torchvision:mobilenet_v3_small@DEFAULT"}, TrainConfig.finetune()),
        ({"weights": "pretrained", "model": "CustomResNet"}, TrainConfig.finetune()),
        ({"weights": "pretrained", "recipe": "default"}, TrainConfig()),
        ({"weights": "pretrained", "momentum": 0.5}, TrainConfig.finetune(momentum=0.5)),
        ({"model": "CustomResNet", "cutout": 8, "padding": 1}, QUICK_AND_NARROW),
    ],
)
def test_a_recipe_follows_from_what_is_chosen(chosen, recipe, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert Settings.of(**chosen).config == recipe


@pytest.mark.parametrize(
    ("chosen", "padding", "alike"),
    [
        ({"data": "sample"}, "standard", True),
        ({"data": "sample", "filters": "random"}, "standard", False),
        ({"data": "sample", "conv_padding": "original"}, "original", True),
        ({"data": "sample", "recipe": "default"}, "original", False),
        ({"data": "full", "filters": "identity"}, "original", True),
    ],
)
def test_padding_and_first_filters_follow_from_the_recipe(few, chosen, padding, alike):
    """Filters can begin as the identity."""
    image = torch.randn(1, 64, 9, 9)
    network = Settings.of(**chosen).classifier(few).network
    assert describe_network(network) == f"ResNet18 (conv_padding='{padding}')"
    block = network.layer2[0]
    passed_on = torch.nn.functional.conv2d(image, block.conv1.weight[:64], padding=1)
    assert torch.allclose(passed_on, image, atol=1e-6) == alike


def test_custom_resnet_is_mirrored_where_its_images_are(few):
    image = torch.rand(1, 3, 16, 16)
    for flip, alike in (("alternating", True), ("random", True), ("none", False)):
        network = Settings.of(model="CustomResNet", flip=flip).classifier(few).network.eval()
        assert torch.allclose(network(image), network(image.flip(3)), atol=1e-5) == alike


def test_first_weights_are_those_of_the_seed(few):
    first, again, other = (
        Settings.of(seed=seed).classifier(few).network.conv1.weight for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def plain(num_classes: int) -> nn.Module:
    """A user's network."""
    return tiny_network()


def learned(num_classes: int) -> nn.Module:
    """A user's network, which names the normalization that its weights expect."""
    network = tiny_network()
    network.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    return network


def test_weights_begin_a_training_or_are_only_tested(few, tiny, tmp_path, capsys):
    path = tmp_path / "weights.safetensors"
    with torch.no_grad():
        tiny.network[0].weight.mul_(2)
    tiny.description = "something earlier"
    tiny.save(path)
    chosen = {"weights": str(path), "model": "test_settings:plain"}

    begun = Settings.of(**chosen).classifier(few)
    assert torch.equal(begun.network[0].weight, tiny.network[0].weight)
    assert str(begun) == "test_settings:plain on a few images"
    assert "Beginning with the weights of something earlier" in capsys.readouterr().out

    tested = Settings.of(**chosen, epochs=0).classifier(few)
    assert torch.equal(tested.network[0].weight, tiny.network[0].weight)
    assert str(tested) == "something earlier"
    assert "No training; weights of something earlier" in capsys.readouterr().out
    others = replace(few, class_names=("plane", *few.class_names[1:]))
    Settings.of(**chosen).classifier(others)  # may begin with them
    with pytest.raises(ValueError, match="something earlier has other classes"):
        Settings.of(**chosen, epochs=0).classifier(others)


@pytest.fixture
def mine(tmp_path, few) -> dict[str, str]:
    """A folder of pictures of all classes, higher than wide."""
    for name in few.class_names:
        (tmp_path / "mine" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (40, 60)).save(tmp_path / "mine" / name / f"{number}.png")
    return {"data": str(tmp_path / "mine"), "root": str(tmp_path)}


@pytest.mark.parametrize(
    ("given", "expected", "told"),
    [
        ({}, "ResNet10 (conv_padding='standard')", ""),
        ({"model": "ResNet10"}, "ResNet10 (conv_padding='standard')", ""),
        (
            {"model": "ResNet18", "conv_padding": "original"},
            "ResNet10 (conv_padding='standard')",
            "The network is that of the weights: ResNet10 (conv_padding='standard')",
        ),
    ],
)
def test_weights_of_ours_say_of_which_network_they_are(
    few, tmp_path, monkeypatch, capsys, given, expected, told
):
    monkeypatch.setitem(MODELS, "ResNet10", partial(ResNet, (1, 1, 1, 1)))
    normalization = Normalization((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    trained = Classifier(ResNet((1, 1, 1, 1), 10, "standard"), few, normalization=normalization)
    trained.save(tmp_path / "w.safetensors")
    chosen = Settings.of(weights=str(tmp_path / "w.safetensors"), **given)
    begun = chosen.classifier(few)
    assert describe_network(begun.network) == expected
    assert begun.normalization == normalization
    assert not begun.normalized_by_data
    digest = hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    assert begun.begins_with == digest
    printed = capsys.readouterr().out
    assert told in printed if told else "network is that" not in printed


def test_images_are_read_as_the_classifiers_were(few, mine, capsys):
    settings = Settings.of(**mine, size=48, resize="crop", model="ResNet34")
    assert settings.load_data().size == (48, 48)
    like = tiny_classifier(few, size=(24, 40), resize="pad")
    assert "not used" not in capsys.readouterr().out
    data = settings.load_data(like)
    assert data.size == (24, 40)
    assert len(data.test_images) == 50  # all of a folder that it was not trained on
    assert (data.test_images[:, :, 0] == 128).all()  # padded with grey
    assert "resize=crop and size=48 are not used: the weights are of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({}, "resized to 24x24 pixels by pad (size and resize change that)"),
        ({"size": 32}, "resized by pad (resize changes that)"),
        ({"resize": "crop"}, "resized to 24x24 pixels (size changes that)"),
        ({"size": 32, "resize": "crop"}, ""),
    ],
)
def test_images_are_read_as_those_of_weights_to_begin_with(
    few, mine, tmp_path, capsys, chosen, told
):
    path = tmp_path / "weights.safetensors"
    tiny_classifier(few, size=(24, 24), resize="pad").save(path)
    data = Settings.of(**mine, weights=str(path), **chosen).load_data()
    assert data.size == ((32, 32) if "size" in chosen else (24, 24))
    assert data.resize == chosen.get("resize", "pad")
    printed = capsys.readouterr().out
    assert f"To suit the weights, pictures are {told}" in printed if told else "suit" not in printed


@pytest.mark.parametrize(
    ("chosen", "side"),
    [
        ({"weights": "weights.pt"}, 128),
        ({"model": "test_settings:plain", "recipe": "finetune"}, 128),
        ({"model": "test_settings:plain"}, 64),
        ({"recipe": "finetune"}, 64),
        ({"model": "torchvision:vit_b_32"}, 224),  # the only size that it takes
        ({"model": "torchvision:vit_b_32", "size": 48}, 48),
    ],
)
def test_the_usual_size_suits_weights_and_network(mine, tmp_path, monkeypatch, chosen, side):
    monkeypatch.chdir(tmp_path)
    torch.save(tiny_network().state_dict(), "weights.pt")
    assert Settings.of(**mine, **chosen).load_data().size == (side, side)


def test_a_network_names_the_normalization_of_its_weights(few, capsys):
    for function, recipe, expected, told in (
        ("learned", "finetune", Normalization((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), False),
        ("plain", "finetune", Normalization.of(few.train_images), True),
        ("plain", "default", Normalization.of(few.train_images), False),
    ):
        model = f"test_settings:{function}"
        chosen = Settings.of(model=model, recipe=recipe, epochs=1)
        classifier = chosen.classifier(few)
        assert classifier.normalization == expected
        fit(classifier, few, chosen.config)
        assert ("give the network pretrained_cfg" in capsys.readouterr().out) == told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"conv_padding": "original"}, ""),
        ({"model": "ResNet18"}, ""),
        (
            {"held_out_share": 0.0},
            "held_out_share=0.0 is not used: .*, CIFAR-10 has labels and",
        ),
        ({"model": "ResNet34"}, "model=ResNet34 is not used: the weights are of ResNet18"),
        ({"size": 48}, "size=48 is not used: the weights are of .*, the images have 32x32 pixels"),
        ({}, ""),
    ],
)
def test_settings_that_weights_override_are_told(few, capsys, given, told):
    settings = Settings.of(weights="pretrained", data="sample", **given)
    settings.print_unused(settings.load_classifier(), few if "size" in given else None)
    printed = capsys.readouterr().out
    assert re.match(told, printed) if told else not printed


def test_settings_train_with_a_custom_loss_and_optimizer(few, tiny, tmp_path):
    settings = Settings.of(data="sample", epochs=1, output=str(tmp_path / "mine"))
    loss, optimizer = Mock(wraps=torch.nn.CrossEntropyLoss()), Mock(wraps=torch.optim.AdamW)
    _, written = settings.train(few, classifier=tiny, loss=loss, optimizer=optimizer)
    assert written == RunFolder(tmp_path / "mine")
    assert loss.called
    assert optimizer.called
    assert written.read()["command"] is None  # no command line makes the same
    figure = plots.training_curves(tiny.history)
    assert written.keep(figure, "curves") is figure
    assert (tmp_path / "mine" / "plots" / "curves.png").exists()


def test_a_run_has_the_settings_that_it_was_trained_with(few, tiny, tmp_path):
    settings = Settings.of(data="sample", output=str(tmp_path / "mine"))
    changed = replace(settings.config, epochs=1, learning_rate=0.01)
    _, written = settings.train(few, config=changed, classifier=tiny)
    assert (written.settings["epochs"], written.settings["learning_rate"]) == (1, 0.01)
    assert "--learning-rate 0.01" in written.read()["command"]


def test_the_notebook_says_at_once_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is not a folder"):
        Settings.from_notebook({"OVERRIDES": f"output={tmp_path / 'file'}"}, "T9_")


def test_the_command_has_what_is_not_a_default():
    chosen = {"data": "2000", "size": "48x64", "epochs": "3", "train": "head", "cutout": "8"}
    words = [word for name, value in chosen.items() for word in (f"--{name}", value)]
    assert Settings.of(**chosen).command() == ["python", "-m", "pytorch_vision", "train", *words]
    unset = replace(TrainConfig.original(), learning_rate=None)
    assert replace(Settings.of(recipe="original"), config=unset).command() is None


def test_the_environment_overrides_overrides_and_these_the_form(monkeypatch):
    for name, value in {"DATA": "2000", "SEED": " 3 ", "OUTPUT": ""}.items():
        monkeypatch.setenv(f"T9_{name}", value)
    overrides = "epochs=7 seed=2 cutout=8 output='my pictures' recipe="
    constants = {"DATA": "full", "EPOCHS": 20, "SEED": 1, "MODEL": "", "OVERRIDES": overrides}
    found = Settings.from_notebook(constants, "T9_")
    assert found == Settings.of(data="2000", epochs=7, seed=3, cutout=8, output="my pictures")


@pytest.mark.parametrize(
    ("overrides", "variables", "message"),
    [
        ("cutuot=8", {}, "cutuot is not a setting; did you mean cutout"),
        ("cutout 8", {}, "OVERRIDES has 'cutout', expected name=value"),
        ("cutout=7", {}, "cutout is '7', expected a multiple of 2"),
        ("output='mine", {}, 'OVERRIDES is "output=\'mine": No closing quotation'),
        ("", {"T9_EPOCH": "3"}, "T9_EPOCH is not a setting; did you mean epochs"),
        ("", {"T9_EPOCHS": "three"}, "epochs is 'three', expected a whole number"),
    ],
)
def test_wrong_overrides_and_variables_are_named(monkeypatch, overrides, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        Settings.from_notebook({"OVERRIDES": overrides}, "T9_")


def test_checkpoints_are_kept_on_a_drive(monkeypatch):
    """Google Drive asks for a login, so a stand-in replaces Colab's module."""
    mounted: list[str] = []
    for name in ("google", "google.colab", "google.colab.drive"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["google.colab.drive"].mount = mounted.append
    form = {"KEEP_ON_DRIVE": False, "DATA": "sample"}
    assert (Settings.from_notebook(form, "T9_").checkpoints, mounted) == ("", [])
    form["KEEP_ON_DRIVE"] = True
    found, again, other = (
        Settings.from_notebook({**form, "COUNT": count, "SEED": seed}, "T9_").checkpoints
        for count, seed in ((10, 0), (20, 0), (10, 1))
    )
    assert found == again != other
    assert found.startswith("/content/drive/MyDrive/S8_ResNet18/sample-")
    assert mounted == ["/content/drive"] * 3


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({"data": "full"}, "."),
        ({"data": "sample"}, "runs/sample"),
        ({"data": "full", "weights": "pretrained"}, "runs/full"),
        ({"data": "full", "model": "CustomResNet"}, "runs/full-CustomResNet"),
        ({"data": "full", "recipe": "original"}, "runs/full"),
        ({"data": "full", "held_out": 5000}, "runs/full-held-out"),
        (
            {"data": "full", "held_out": 5000, "model": "CustomResNet"},
            "runs/full-held-out-CustomResNet",
        ),
        ({"data": "full", "output": "mine"}, "mine"),
        ({"data": "2000", "model": "torchvision:vgg11"}, "runs/2000-torchvision-vgg11"),
    ],
)
def test_only_the_full_training_writes_into_the_working_folder(settings, folder):
    assert Settings.of(**settings).notebook_output == folder


def test_the_notebooks_form_is_the_defaults():
    """All that is not in it is set by OVERRIDES."""
    notebook = nbformat.read(ROOT / "S8_ResNet18.ipynb", as_version=4)
    cell = next(cell.source for cell in notebook.cells if "# @title Settings" in cell.source)
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(cell).body
        if isinstance(node, ast.Assign) and node.targets[0].id.isupper()
    }
    assert Settings.from_notebook(constants, "T9_") == Settings.of()
