import errno
import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from small import tiny_network

from pytorch_vision.models import MODELS, ResNet, ResNet18, create, describe_network
from pytorch_vision.training import (
    PRETRAINED,
    CheckpointError,
    EpochRecord,
    History,
    TrainedModel,
    begin_with,
    load_trained,
    save_trained,
)
from pytorch_vision.training.weights import load_weights, save_weights

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trained(few) -> TrainedModel:
    """A small network with all that a file keeps of it."""
    torch.manual_seed(0)
    model = ResNet((1, 1, 1, 1), 10, "standard")
    history = History((EpochRecord(1, 2.5, 10.0, 2.25, 20.0, 0.05, 3.0, 1.0),))
    return TrainedModel(model, few.class_names, few.mean_and_std, history, "a network on a few")


def test_all_of_it_comes_back(tmp_path, trained):
    save_trained(tmp_path / "weights.safetensors", trained)
    loaded = load_trained(tmp_path / "weights.safetensors")
    assert describe_network(loaded.model) == "ResNet10 (geometry='standard')"
    for name, tensor in trained.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)
    for name in ("class_names", "mean_and_std", "history", "description"):
        assert getattr(loaded, name) == getattr(trained, name)


def test_half_the_size_in_float16(tmp_path, trained):
    path = tmp_path / "weights.safetensors"
    save_trained(path, trained, torch.float16)
    parameters = sum(parameter.numel() for parameter in trained.model.parameters())
    assert path.stat().st_size < 2.1 * parameters
    weight = load_trained(path).model.linear.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, trained.model.linear.weight.half().float())


def test_other_data_is_normalised_as_in_training(trained, sample, few):
    assert sample.mean_and_std != few.mean_and_std
    assert trained.normalized(sample).mean_and_std == few.mean_and_std


def test_other_classes_are_refused(trained, few):
    others = replace(few, class_names=("plane", *few.class_names[1:]))
    with pytest.raises(CheckpointError, match=r"trained on other classes \(airplane, .*plane, "):
        trained.normalized(others)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            ResNet18(),
            r"is a ResNet10 \(geometry='standard'\), expected a ResNet18 \(geometry='orig",
        ),
        (ResNet((1, 1, 1, 1), 10), r"expected a ResNet10 \(geometry='original'\)"),
        (ResNet((1, 1, 1, 1), 7, "standard"), r"linear.bias is \(10,\), expected \(7,\) \(2 of"),
    ],
)
def test_another_architecture_is_refused(tmp_path, trained, wanted, message):
    save_trained(tmp_path / "weights.safetensors", trained)
    with pytest.raises(CheckpointError, match=message):
        load_trained(tmp_path / "weights.safetensors", wanted)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ResNet18", {}),
        ("CustomResNet", {}),
        ("CustomResNet", {"mirrored": True}),
        ("torchvision:mobilenet_v3_small", {}),
    ],
)
def test_every_network_by_name_comes_back(tmp_path, few, name, options):
    model = create(name, 10, **options)
    save_trained(tmp_path / "weights.safetensors", TrainedModel.of(model, few, History()))
    random_state = torch.get_rng_state()
    loaded = load_trained(tmp_path / "weights.safetensors")
    assert torch.equal(torch.get_rng_state(), random_state)
    assert describe_network(loaded.model) == describe_network(model)
    assert loaded.description == f"{name} on a few images"
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.model.eval()(images), model.eval()(images))


def test_buffers_that_no_file_keeps_are_made_anew(tmp_path, few, monkeypatch):
    class WithBuffer(torch.nn.Linear):
        def __init__(self, num_classes: int) -> None:
            super().__init__(3, num_classes)
            self.register_buffer("places", torch.arange(3.0), persistent=False)

    monkeypatch.setitem(MODELS, "WithBuffer", WithBuffer)
    trained = TrainedModel.of(create("WithBuffer"), few, History())
    save_trained(tmp_path / "weights.safetensors", trained)
    loaded = load_trained(tmp_path / "weights.safetensors").model
    assert torch.equal(loaded.places, torch.arange(3.0))
    assert torch.equal(loaded.weight, trained.model.weight)


def test_a_network_of_the_callers_own(tmp_path, few, tiny):
    path = tmp_path / "weights.safetensors"
    save_trained(path, TrainedModel.of(tiny, few, History()))
    with pytest.raises(CheckpointError, match=r"weights of a network of somebody's own, which onl"):
        load_trained(path)
    for given in (tiny_network(), lambda classes: tiny_network()):
        loaded = load_trained(path, given)
        for name, tensor in tiny.state_dict().items():
            assert torch.equal(loaded.model.state_dict()[name], tensor)
    another = tiny_network(normalization=False)
    before = another[0].weight.clone()
    with pytest.raises(
        CheckpointError, match=r"does not fit Sequential: 1\.bias is \(8,\), expect"
    ):
        load_trained(path, another)
    assert torch.equal(another[0].weight, before)


def test_a_weights_file_never_has_anything_imported(tmp_path, few, tiny, monkeypatch):
    """It may name a module; only the caller's own word has it imported."""
    tiny.made_by = {"name": "antigravity_of_mine:build"}
    path = tmp_path / "weights.safetensors"
    save_trained(path, TrainedModel.of(tiny, few, History()))
    (tmp_path / "antigravity_of_mine.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckpointError, match="antigravity_of_mine:build, which only you can make"):
        load_trained(path)
    assert "antigravity_of_mine" not in sys.modules
    tiny.made_by = {"name": "torchvision:resnet18", "weights": "DEFAULT"}  # would download
    save_trained(path, TrainedModel.of(tiny, few, History()))
    with pytest.raises(CheckpointError, match="torchvision:resnet18, which only you can make"):
        load_trained(path)


def test_size_and_fit_are_kept(tmp_path, trained):
    path = tmp_path / "weights.safetensors"
    save_trained(path, replace(trained, size=(48, 64), fit="pad"))
    loaded = load_trained(path)
    assert (loaded.size, loaded.fit) == ((48, 64), "pad")


def test_images_of_another_size_are_refused(trained, few):
    larger = replace(trained, size=(64, 64))
    with pytest.raises(
        CheckpointError, match=r"images of 64x64 pixels, .* a few images have 32x32"
    ):
        larger.normalized(few)


def test_weights_to_begin_with(tmp_path, trained, few):
    path = tmp_path / "weights.safetensors"
    save_trained(path, trained)
    same = ResNet((1, 1, 1, 1), 10, "standard")
    assert begin_with(same, path) == "Beginning with the weights of a network on a few"
    assert torch.equal(same.linear.weight, trained.model.linear.weight)
    fewer = ResNet((1, 1, 1, 1), 3, "standard")
    classifier = fewer.linear.weight.clone()
    told = begin_with(fewer, path)
    assert told.endswith("a network on a few; new: linear.bias, linear.weight")
    assert torch.equal(fewer.linear.weight, classifier)
    assert torch.equal(fewer.conv1.weight, trained.model.conv1.weight)
    other = create("CustomResNet")
    with pytest.raises(CheckpointError, match=r"does not fit CustomResNet .* only 1 have the name"):
        begin_with(other, path)


def test_foreign_weights_are_named(tmp_path, trained, tiny):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(CheckpointError, match=r"no weights at .*weights\.safetensors"):
        load_trained(path)
    save_weights(path, tiny, {"about": "nothing"})
    with pytest.raises(CheckpointError, match="holds other weights than"):
        load_trained(path)
    save_trained(path, trained)
    metadata = load_weights(path)[1]
    names = metadata["class_names"]
    network = json.loads(metadata["network"])
    for name, value in {
        "network": [
            *(
                {**network, "blocks": blocks}
                for blocks in (
                    [2, 2, 2, 2],
                    [1, 1, 1, 1_000_000_000],  # each of these would ask for gigabytes, or hours
                    [-1_000_000, 1_000_001, 1, 1],
                    [1.5, 1, 1, 1],
                    "1111",
                )
            ),
            {**network, "geometry": "round"},
            {**network, "geometry": 1},
            {**network, "name": "ResNet18"},
            {**network, "name": 3},
            {"name": "torchvision:nothing"},
            {"name": "torchvision:resnet18"},
            "ResNet18",
        ],
        "size": [[32], [32, 0], [32, 1 << 40], "32", [32.5, 32]],
        "fit": ["stretch", 3],
        "class_names": [
            ["one", "two"],
            ["x"] * 10_000_000,
            "abcdefghij",
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            [*json.loads(names)[:9], "\x1b[2Jtruck"],  # clears a terminal
            [*json.loads(names)[:9], "x" * 1000],
        ],
        "mean_and_std": [3, [[0, 0, 0], [1, 1]], [[0, 0, 0], [1, 1, 0]], [[0, 0, 1e999], [1] * 3]],
        "history": [[{"epoch": 1}], [1], 3, [{"epoch": 1, "train_loss": "x"}]],
        "description": [1, "\x1b]0;title\x07", "x" * 10_000],
    }.items():
        for wrong in value:
            save_weights(path, trained.model, {**metadata, name: json.dumps(wrong)})
            with pytest.raises(CheckpointError, match="holds other weights than"):
                load_trained(path)
        if name in ("size", "fit"):  # older files have none
            continue
        save_weights(path, trained.model, {k: v for k, v in metadata.items() if k != name})
        with pytest.raises(CheckpointError, match="holds other weights than"):
            load_trained(path)


def test_a_file_that_cannot_be_opened_is_not_called_missing_or_damaged(
    tmp_path, trained, monkeypatch
):
    path = tmp_path / "weights.safetensors"
    save_trained(path, trained)

    def fails(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("builtins.open", fails)
    with pytest.raises(OSError, match="Too many open files"):
        load_trained(path)


def test_the_committed_weights_are_the_ones_that_readme_names():
    assert PRETRAINED.stat().st_size <= 23 * 2**20
    digest = hashlib.sha256(PRETRAINED.read_bytes()).hexdigest()
    assert digest in (ROOT / "README.md").read_text()


def test_the_committed_weights_are_as_good_as_they_are_said_to_be(cifar10):
    """By the command that README gives for it, in float16 as they are kept."""
    history = load_trained("pretrained", ResNet18()).history
    assert len(history.records) == 20
    printed = subprocess.run(
        [sys.executable, "-m", "pytorch_vision", "evaluate"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "PyTorch_Vision")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    accuracy = float(re.search(r"Accuracy: \d+/10000 \((.*)%\)", printed)[1])
    assert accuracy == pytest.approx(history.records[-1].test_accuracy, abs=0.1)


def test_weights_that_an_installed_package_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pytorch_vision.training.pretrained.PRETRAINED", tmp_path / "none.safetensors"
    )
    with pytest.raises(CheckpointError, match="they come with a clone of PyTorch_Vision"):
        load_trained("pretrained")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_come_back(tmp_path, tiny, dtype):
    path = tmp_path / "new" / "weights.safetensors"
    save_weights(path, tiny, {"model": "tiny"}, dtype)
    tensors, metadata = load_weights(path)
    assert metadata == {"model": "tiny"}
    for name, tensor in tiny.state_dict().items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor.to(dtype).to(tensor.dtype))
    assert os.listdir(path.parent) == [path.name]


def test_bad_weights_are_named(tmp_path, tiny):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(CheckpointError, match=r"no weights at .*weights\.safetensors"):
        load_weights(path)
    save_weights(path, tiny, {})
    for content in (path.read_bytes()[:300], b"", b"\x80\x02}q\x00."):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
            load_weights(path)


def test_no_changed_byte_of_a_weights_file_goes_unnoticed(tmp_path, trained):
    path = tmp_path / "weights.safetensors"
    save_trained(path, trained, torch.float16)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [*random.integers(0, header, 60), *random.integers(header, len(whole), 60)]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << random.integers(8)
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
            load_trained(path)


def test_one_flipped_bit_of_the_committed_weights_is_noticed(tmp_path):
    """It took the sample's accuracy from 95.2 % to 11.6 %, without a word."""
    flipped = bytearray(PRETRAINED.read_bytes())
    flipped[415_155] ^= 0x40
    (tmp_path / "flipped.safetensors").write_bytes(flipped)
    with pytest.raises(CheckpointError, match="is damaged: its checksum does not fit"):
        load_trained(tmp_path / "flipped.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, trained, value):
    with torch.no_grad():
        trained.model.layer2[0].conv1.weight[3, 2, 1, 0] = value
    save_trained(tmp_path / "weights.safetensors", trained)
    with pytest.raises(CheckpointError, match=r"layer2\.0\.conv1\.weight in it is not finite"):
        load_trained(tmp_path / "weights.safetensors")


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path, tiny):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(tiny.state_dict(), path)
    with pytest.raises(CheckpointError, match=r"holds other weights .*it has no checksum"):
        load_trained(path)
