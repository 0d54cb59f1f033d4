import ast
from dataclasses import fields
from pathlib import Path

import nbformat
import pytest
import torch

from pytorch_vision.options import COMMANDS, make_parser
from pytorch_vision.settings import Settings, default_data
from pytorch_vision.training import TrainConfig

ROOT = Path(__file__).parents[1]


def test_the_environment_overrides_constants(monkeypatch):
    monkeypatch.setenv("T9_EPOCHS", "3")
    monkeypatch.setenv("T9_DATA", "2000")
    monkeypatch.setenv("T9_OUTPUT", "")
    monkeypatch.setenv("T9_MUON_RATE", "0.2")
    constants = {"DATA": "full", "EPOCHS": 20, "SEED": 7, "OUTPUT": "pictures", "CUTOUT": ""}
    settings = Settings.from_environment("T9_", constants)
    assert (settings.data, settings.epochs, settings.seed) == ("2000", 3, 7)
    assert (settings.output, settings.muon_rate, settings.cutout) == ("pictures", 0.2, None)


def test_numbers_of_a_form_may_be_text():
    assert Settings.from_environment("T9_", {"EPOCHS": "5", "LEARNING_RATE": "1e-3"}) == Settings(
        epochs=5, learning_rate=0.001
    )


def test_what_is_left_open_follows_from_the_data():
    assert Settings().data == default_data()
    assert Settings("full").train_config(50_000).batch_size == 512
    assert Settings("sample").train_config(5000).batch_size == 32
    assert Settings("sample").train_config(5001).batch_size == 512
    assert Settings("sample", batch_size=64).train_config(1000).batch_size == 64


def test_every_value_of_a_recipe_can_be_changed():
    chosen = {
        "epochs": 3,
        "batch_size": 64,
        "seed": 4,
        "optimizer": "sgd",
        "muon_rate": 0.3,
        "learning_rate": 0.4,
        "momentum": 0.5,
        "weight_decay": 0.6,
        "label_smoothing": 0.7,
        "small_share": 0.8,
        "skip_share": 0.9,
        "devices": 2,
    }
    augmentation = {"padding": 2, "flip": "none", "cutout": 8, "cutout_probability": 0.25}
    config = Settings("sample", **chosen, **augmentation).train_config(1000)
    assert {name: getattr(config, name) for name in chosen} == chosen
    assert {name: getattr(config.augmentation, name) for name in augmentation} == augmentation


def test_a_recipe_is_what_is_changed():
    original = Settings("full", recipe="original", epochs=2).train_config(50_000)
    assert original == TrainConfig.original_recipe(epochs=2)
    assert Settings("full").train_config(50_000) == TrainConfig()
    with pytest.raises(ValueError, match="recipe is 'best', expected 'default', "):
        Settings(recipe="best")


def test_custom_resnet_has_a_recipe_of_its_own():
    quick = Settings("full", model="CustomResNet").train_config(50_000)
    assert quick == TrainConfig.quick()
    assert (quick.epochs, quick.small_epochs, quick.peak_rate) == (9, 5, 0.1)
    assert quick.skip_share == 0.33
    assert (quick.augmentation.padding, quick.augmentation.cutout) == (3, 8)
    assert not quick.average_weights
    other = Settings("full", model="CustomResNet", recipe="default").train_config(50_000)
    assert other == TrainConfig()


def test_custom_resnet_is_mirrored_where_its_images_are():
    image = torch.rand(1, 3, 32, 32)
    for flip, alike in ((None, True), ("random", True), ("none", False)):
        model = Settings("full", model="CustomResNet", flip=flip).create_model(10).eval()
        assert torch.allclose(model(image), model(image.flip(3)), atol=1e-5) == alike


def test_weights_skip_the_training_or_begin_it():
    """In the notebook; the command line's train always trains."""
    assert Settings("full", weights="pretrained").train_config(50_000).epochs == 0
    further = Settings("full", weights="pretrained", epochs=2).train_config(50_000)
    assert further == TrainConfig.fine_tuning(epochs=2)


@pytest.mark.parametrize("value", ["three", "1.5", "1e3", "--2"])
def test_a_value_that_is_no_whole_number_is_named(monkeypatch, value):
    monkeypatch.setenv("T9_EPOCHS", value)
    with pytest.raises(ValueError, match=f"T9_EPOCHS is '{value}', expected a whole number"):
        Settings.from_environment("T9_")


def test_a_value_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("T9_LEARNING_RATE", "fast")
    with pytest.raises(ValueError, match="T9_LEARNING_RATE is 'fast', expected a number"):
        Settings.from_environment("T9_")


def test_an_unknown_setting_is_named(monkeypatch):
    monkeypatch.setenv("T9_EPOCH", "3")
    with pytest.raises(ValueError, match="T9_EPOCH is not a setting; these are: T9_DATA, T9_RO"):
        Settings.from_environment("T9_")


def test_an_unknown_order_is_named_before_anything_is_trained():
    with pytest.raises(ValueError, match="order is 'last', expected 'first', 'confident'"):
        Settings(order="last")


def test_devices_are_a_number_or_all(monkeypatch):
    assert Settings().devices == 1
    for text, devices in (("2", 2), ("auto", "auto"), ("", 1)):
        monkeypatch.setenv("T9_DEVICES", text)
        assert Settings.from_environment("T9_").devices == devices
    for text in ("0", "two", "-1"):
        with pytest.raises(ValueError, match=f"devices is '{text}', expected a number from 1 on"):
            Settings(devices=text)


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
def test_only_the_full_run_overwrites_the_real_pictures(settings, folder):
    assert Settings(**settings).notebook_output == folder


def test_a_folder_is_named_after_itself(tmp_path):
    assert Settings(str(tmp_path)).notebook_output == f"runs/{tmp_path.name}"


def test_there_is_no_default_for_unknown_data():
    with pytest.raises(ValueError, match=r"data is '\.\./elsewhere', expected 'full'"):
        Settings("../elsewhere")


def test_the_notebook_has_every_setting_as_a_constant():
    notebook = nbformat.read(ROOT / "S8_ResNet18.ipynb", as_version=4)
    cell = next(cell.source for cell in notebook.cells if "# @title Settings" in cell.source)
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(cell).body
        if isinstance(node, ast.Assign) and node.targets[0].id.isupper()
    }
    known = {one.name.upper() for one in fields(Settings)}
    assert constants.keys() == known | {"KEEP_ON_DRIVE"}
    assert Settings.from_environment("T9_", constants) == Settings()


def test_the_command_line_has_every_setting_as_an_option():
    assert set(COMMANDS["train"]) == {one.name for one in fields(Settings)}
    assert all(set(names) <= set(COMMANDS["train"]) for names in COMMANDS.values())


def test_the_help_shows_true_defaults(capsys):
    functions = dict.fromkeys(COMMANDS, test_the_help_shows_true_defaults)
    with pytest.raises(SystemExit):
        make_parser(functions).parse_args(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    config = TrainConfig()
    for name in ("muon_rate", "momentum", "weight_decay", "label_smoothing", "optimizer"):
        option = shown.split(f"--{name.replace('_', '-')} ")[-1]
        assert f"(default: {getattr(config, name)})" in option.split(" --")[0]
