import errno
import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from small import tiny_classifier, tiny_network

from pytorch_vision.data import Normalization
from pytorch_vision.models import (
    PRETRAINED,
    Classifier,
    EpochRecord,
    History,
    ResNet,
    ResNet18,
    create,
)
from pytorch_vision.models.registry import MODELS, describe_network
from pytorch_vision.models.weights import load_weights, save_weights
from pytorch_vision.runtime import CheckpointError, Machine
from pytorch_vision.runtime.devices import make_fabric

ROOT = Path(__file__).parents[2]
CPU = Machine(accelerator="cpu", precision="32-true")


@pytest.fixture
def trained(few) -> Classifier:
    """A small network with all that a file keeps of it."""
    torch.manual_seed(0)
    network = ResNet((1, 1, 1, 1), 10, "standard")
    history = History((EpochRecord(1, 2.5, 10.0, 2.25, 20.0, 0.05, 3.0, 1.0),))
    return Classifier(network, few, history=history, description="a network on a few")


def test_a_classifier_is_made_for_data(few):
    """From a network, or from the name of one: the same, but for what is said of it."""
    named = Classifier("ResNet18", few, conv_padding="standard", resize="pad")
    given = Classifier(ResNet18(10, "standard"), few, resize="pad", description="mine")
    for classifier in (named, given):
        assert describe_network(classifier.network) == "ResNet18 (conv_padding='standard')"
        assert classifier.class_names == few.class_names
        assert classifier.size == (32, 32)
        assert classifier.resize == "pad"
        assert classifier.normalization == Normalization.of(few.train_images)
        assert classifier.history == History()
    assert str(named) == "ResNet18 on a few images"
    assert str(given) == "mine"
    assert str(Classifier(tiny_network(), few)) == "Sequential on a few images"


def test_a_classifier_is_made_without_data(few):
    normalization = Normalization((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    given = {"class_names": ["a", "b"], "normalization": normalization, "size": (48, 64)}
    own = Classifier(tiny_network(classes=2), **given)
    assert (own.class_names, own.normalization, own.size) == (("a", "b"), normalization, (48, 64))
    assert str(own) == "Sequential"
    assert Classifier("CustomResNet", **given).network.linear.out_features == 2
    # what is given counts more than the data
    other = Classifier(tiny_network(classes=2), few, **given)
    assert (other.class_names, other.normalization) == (("a", "b"), normalization)
    assert other.size == (48, 64)
    for name in given:
        with pytest.raises(ValueError, match="needs data, or else its class_names, normalization"):
            Classifier(tiny_network(), **{**given, name: None})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_padding": "standard"}, "conv_padding: only for a network that is made by its name"),
        ({"resize": "stretch"}, "resize is 'stretch', expected 'crop', 'pad', 'squash'"),
        ({"class_names": "ab"}, "class_names is 'ab', expected a sequence of names"),
        ({"class_names": ()}, "class_names is empty"),
    ],
)
def test_a_classifier_of_a_wrong_kind_is_refused(few, change, message):
    with pytest.raises(ValueError, match=message):
        tiny_classifier(few, **change)


def test_an_unknown_network_or_option_is_refused(few):
    with pytest.raises(ValueError, match="model is 'ResNet19', expected one of ResNet18"):
        Classifier("ResNet19", few)
    with pytest.raises(ValueError, match=r"'CustomResNet' cannot be made with .*conv_padding='sta"):
        Classifier("CustomResNet", few, conv_padding="standard")


def test_probabilities_are_the_networks(few, tiny):
    tiny.network.train()
    found = tiny.predict(few.test_images, CPU)
    assert tiny.network.training
    assert found.dtype == np.float32
    assert found.shape == (50, 10)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    mean, std = np.array(tiny.normalization.mean), np.array(tiny.normalization.std)
    images = torch.tensor((few.test_images / 255 - mean) / std).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        expected = tiny.network.eval()(images).softmax(1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 32, 32, 3), np.float32), "images is float32 .* expected uint8"),
        (np.zeros((32, 32, 3), np.uint8), r"images is uint8 of shape \(32, 32, 3\)"),
        (np.zeros((1, 48, 32, 3), np.uint8), "images are 48x32 pixels, Sequential on .* takes 32x"),
    ],
)
def test_images_of_another_kind_are_not_predicted(tiny, images, message):
    with pytest.raises(ValueError, match=message):
        tiny.predict(images, CPU)


def test_pictures_of_pillows_are_predicted_as_their_files(tmp_path, few, tiny):
    picture = Image.fromarray(few.test_images[0].repeat(3, 0).repeat(2, 1))
    picture.save(tmp_path / "picture.png")
    expected = tiny.predict(tmp_path / "picture.png")
    assert np.array_equal(tiny.predict(picture), expected)
    both = tiny.predict([picture, tmp_path / "picture.png"])
    np.testing.assert_allclose(both, expected.repeat(2, 0), atol=1e-6)
    with pytest.raises(ValueError, match="the picture is 900x3 pixels, of which 'crop' leaves"):
        tiny.predict(Image.new("RGB", (900, 3)))


def test_threads_that_predict_do_not_disturb_each_other(few, tiny):
    tiny.network.train()
    before = {name: tensor.clone() for name, tensor in tiny.network.state_dict().items()}
    images = few.test_images[:20]
    expected = tiny.predict(images)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: tiny.predict(images), range(40)))
    assert all(np.array_equal(answer, expected) for answer in answers)
    for name, tensor in tiny.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_network_of_other_logits_is_refused(few):
    classifier = Classifier(tiny_network(classes=7), few)
    with pytest.raises(ValueError, match=r"gives \(1, 7\) for one image, expected \(1, 10\): one"):
        classifier.check_outputs(make_fabric(CPU))


def test_another_network_in_the_same_classifier(trained):
    network = tiny_network()
    other = trained.with_network(network)
    assert other.network is network
    assert trained.network is not network
    for name in ("class_names", "normalization", "size", "resize", "history", "description"):
        assert getattr(other, name) == getattr(trained, name)
    assert trained.with_network(network, History()).history == History()


def test_all_of_it_comes_back(tmp_path, trained):
    trained.size, trained.resize = (48, 64), "pad"
    trained.save(tmp_path / "weights.safetensors")
    loaded = Classifier.load(tmp_path / "weights.safetensors")
    assert describe_network(loaded.network) == "ResNet10 (conv_padding='standard')"
    for name, tensor in trained.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)
    for name in ("class_names", "normalization", "size", "resize", "history", "description"):
        assert getattr(loaded, name) == getattr(trained, name)


def test_a_file_with_earlier_names_is_read(tmp_path, trained):
    """The committed weights are one, which has no size either."""
    path = tmp_path / "weights.safetensors"
    trained.resize = "squash"
    trained.save(path)
    metadata = load_weights(path)[1]
    network = json.loads(metadata["network"])
    network["geometry"] = network.pop("conv_padding")
    metadata = {**metadata, "network": json.dumps(network)}
    metadata["mean_and_std"] = metadata.pop("normalization")
    metadata["fit"] = metadata.pop("resize")
    del metadata["size"]
    save_weights(path, trained.network, metadata)
    loaded = Classifier.load(path)
    assert describe_network(loaded.network) == "ResNet10 (conv_padding='standard')"
    assert torch.equal(loaded.network.linear.weight, trained.network.linear.weight)
    assert loaded.normalization == trained.normalization
    assert (loaded.resize, loaded.size) == ("squash", (32, 32))
    # into a network that is there already, too
    assert Classifier.load(path, ResNet((1, 1, 1, 1), 10, "standard")).resize == "squash"


def test_half_the_size_in_float16(tmp_path, trained):
    path = tmp_path / "weights.safetensors"
    trained.save(path, torch.float16)
    parameters = sum(parameter.numel() for parameter in trained.network.parameters())
    assert path.stat().st_size < 2.1 * parameters
    weight = Classifier.load(path).network.linear.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, trained.network.linear.weight.half().float())


def test_data_of_another_kind_is_refused(trained, few, sample):
    trained.check(few)
    trained.check(sample)
    others = replace(few, class_names=("plane", *few.class_names[1:]))
    with pytest.raises(
        ValueError,
        match=r"a network on a few has other classes \(airplane, .* a few images \(plane",
    ):
        trained.check(others)
    trained.size = (64, 48)
    with pytest.raises(
        ValueError, match="images of 64x48 pixels, those of a few images have 32x32"
    ):
        trained.check(few)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            ResNet18(),
            r"is a ResNet10 \(conv_padding='standard'\), expected a ResNet18 \(conv_padding='o",
        ),
        (ResNet((1, 1, 1, 1), 10), r"expected a ResNet10 \(conv_padding='original'\)"),
        (ResNet((1, 1, 1, 1), 7, "standard"), r"linear.bias is \(10,\), expected \(7,\) \(2 of"),
    ],
)
def test_another_architecture_is_refused(tmp_path, trained, wanted, message):
    trained.save(tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=message):
        Classifier.load(tmp_path / "weights.safetensors", wanted)


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
    classifier = Classifier(name, few, **options)
    classifier.save(tmp_path / "weights.safetensors")
    random_state = torch.get_rng_state()
    loaded = Classifier.load(tmp_path / "weights.safetensors")
    assert torch.equal(torch.get_rng_state(), random_state)
    assert describe_network(loaded.network) == describe_network(classifier.network)
    assert loaded.description == f"{name} on a few images"
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        logits = classifier.network.eval()(images)
        torch.testing.assert_close(loaded.network.eval()(images), logits)  # wherever they lie


def test_buffers_that_no_file_keeps_are_made_anew(tmp_path, few, monkeypatch):
    class WithBuffer(torch.nn.Linear):
        def __init__(self, num_classes: int) -> None:
            super().__init__(3, num_classes)
            self.register_buffer("places", torch.arange(3.0), persistent=False)

    monkeypatch.setitem(MODELS, "WithBuffer", WithBuffer)
    made = Classifier("WithBuffer", few)
    made.save(tmp_path / "weights.safetensors")
    loaded = Classifier.load(tmp_path / "weights.safetensors").network
    assert torch.equal(loaded.places, torch.arange(3.0))
    assert torch.equal(loaded.weight, made.network.weight)


def test_a_network_of_the_callers_own(tmp_path, tiny):
    path = tmp_path / "weights.safetensors"
    tiny.save(path)
    with pytest.raises(CheckpointError, match=r"weights of a network of somebody's own, which onl"):
        Classifier.load(path)
    for given in (tiny_network(), lambda classes: tiny_network()):
        loaded = Classifier.load(path, given)
        for name, tensor in tiny.network.state_dict().items():
            assert torch.equal(loaded.network.state_dict()[name], tensor)
    another = tiny_network(normalization=False)
    before = another[0].weight.clone()
    with pytest.raises(
        CheckpointError, match=r"does not fit Sequential: 1\.bias is \(8,\), expect"
    ):
        Classifier.load(path, another)
    assert torch.equal(another[0].weight, before)


def test_a_weights_file_never_has_anything_imported(tmp_path, tiny, monkeypatch):
    """It may name a module; only the caller's own word has it imported."""
    tiny.network.made_by = {"name": "antigravity_of_mine:build"}
    path = tmp_path / "weights.safetensors"
    tiny.save(path)
    (tmp_path / "antigravity_of_mine.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckpointError, match="antigravity_of_mine:build, which only you can make"):
        Classifier.load(path)
    assert "antigravity_of_mine" not in sys.modules
    tiny.network.made_by = {"name": "torchvision:resnet18", "weights": "DEFAULT"}  # would download
    tiny.save(path)
    with pytest.raises(CheckpointError, match="torchvision:resnet18, which only you can make"):
        Classifier.load(path)


def test_weights_to_begin_with(tmp_path, trained):
    path = tmp_path / "weights.safetensors"
    trained.save(path)
    same = trained.with_network(ResNet((1, 1, 1, 1), 10, "standard"))
    assert same.begin_with(path) == "Beginning with the weights of a network on a few"
    assert torch.equal(same.network.linear.weight, trained.network.linear.weight)
    assert not same.is_partly_new
    renamed = trained.with_network(ResNet((1, 1, 1, 1), 10, "standard"))
    renamed.class_names = tuple("abcdefghij")
    assert renamed.begin_with(path).endswith("a network on a few, whose classes are others")
    assert renamed.is_partly_new
    fewer = trained.with_network(ResNet((1, 1, 1, 1), 3, "standard"))
    random = fewer.network.linear.weight.clone()
    told = fewer.begin_with(path)
    assert told.endswith("a network on a few; new: linear.bias, linear.weight")
    assert fewer.is_partly_new
    assert torch.equal(fewer.network.linear.weight, random)
    assert torch.equal(fewer.network.conv1.weight, trained.network.conv1.weight)
    other = trained.with_network(create("CustomResNet"))
    with pytest.raises(CheckpointError, match=r"does not fit CustomResNet .* only 1 have the name"):
        other.begin_with(path)
    with pytest.raises(CheckpointError, match="there are no weights at none"):
        other.begin_with("none.safetensors")


def test_foreign_weights_are_named(tmp_path, tiny):
    path = tmp_path / "weights.safetensors"
    save_weights(path, tiny.network, {"about": "nothing"})
    with pytest.raises(CheckpointError, match="holds other weights than"):
        Classifier.load(path)
    tiny.save(path)
    metadata = load_weights(path)[1]
    names = json.loads(metadata["class_names"])
    for name, value in {
        "size": [[32], [32, 0], [32, 1 << 40], "32", [32.5, 32]],
        "resize": ["stretch", 3],
        "class_names": [
            ["x"] * 200_000,
            "abcdefghij",
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            [*names[:9], "\x1b[2Jtruck"],  # clears a terminal
            [*names[:9], "x" * 1_000_000],
        ],
        "normalization": [
            3,
            [[0, 0, 0], [1, 1]],
            [[0, 0, 0], [1, 1, 0]],
            [[0, 0, 1e999], [1] * 3],
        ],
        "history": [[{"epoch": 1}], [1], 3, [{"epoch": 1, "train_loss": "x"}]],
        "description": [1, "\x1b]0;title\x07", "x" * 1_000_000],
    }.items():
        for wrong in value:
            save_weights(path, tiny.network, {**metadata, name: json.dumps(wrong)})
            with pytest.raises(CheckpointError, match="holds other weights than"):
                Classifier.load(path, tiny_network())
        if name in ("size", "resize"):  # older files have none
            continue
        save_weights(path, tiny.network, {k: v for k, v in metadata.items() if k != name})
        with pytest.raises(CheckpointError, match="holds other weights than"):
            Classifier.load(path, tiny_network())


def test_weights_of_a_network_that_they_do_not_fit_are_named(tmp_path, trained):
    path = tmp_path / "weights.safetensors"
    trained.save(path)
    metadata = load_weights(path)[1]
    network = json.loads(metadata["network"])
    changes = [
        {"network": wrong}
        for wrong in (
            {**network, "blocks": [2, 2, 2, 2]},
            # each of these would ask for gigabytes, or hours
            {**network, "blocks": [1, 1, 1, 1_000_000_000]},
            {**network, "blocks": [-1_000_000, 1_000_001, 1, 1]},
            {**network, "blocks": [1.5, 1, 1, 1]},
            {**network, "blocks": "1111"},
            {**network, "conv_padding": "round"},
            {**network, "conv_padding": 1},
            {"name": "ResNet", "blocks": [1, 1, 1, 1], "geometry": "round"},
            {**network, "name": "ResNet18"},
            {**network, "name": 3},
            {"name": "torchvision:nothing"},
            {"name": "torchvision:resnet18"},
            "ResNet18",
        )
    ]
    for change in (*changes, {"class_names": ["one", "two"]}):
        texts = {name: json.dumps(value) for name, value in change.items()}
        save_weights(path, trained.network, {**metadata, **texts}, torch.float16)
        with pytest.raises(CheckpointError, match="holds other weights than"):
            Classifier.load(path)
    del metadata["network"]
    save_weights(path, trained.network, metadata)
    with pytest.raises(CheckpointError, match="holds other weights than"):
        Classifier.load(path)


def test_a_file_that_cannot_be_opened_is_not_called_missing_or_damaged(
    tmp_path, trained, monkeypatch
):
    path = tmp_path / "weights.safetensors"
    trained.save(path)

    def fails(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("builtins.open", fails)
    with pytest.raises(OSError, match="Too many open files"):
        Classifier.load(path)


def test_the_committed_weights_are_the_ones_that_the_results_name():
    assert PRETRAINED.stat().st_size <= 23 * 2**20
    digest = hashlib.sha256(PRETRAINED.read_bytes()).hexdigest()
    assert digest in (ROOT / "docs" / "results.md").read_text()


def test_weights_that_an_installed_package_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pytorch_vision.models.classifier.PRETRAINED", tmp_path / "none.safetensors"
    )
    with pytest.raises(CheckpointError, match="they come with a clone of PyTorch_Vision"):
        Classifier.load("pretrained")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_come_back(tmp_path, tiny, dtype):
    path = tmp_path / "new" / "weights.safetensors"
    save_weights(path, tiny.network, {"model": "tiny"}, dtype)
    tensors, metadata = load_weights(path)
    assert metadata == {"model": "tiny"}
    for name, tensor in tiny.network.state_dict().items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor.to(dtype).to(tensor.dtype))
    assert os.listdir(path.parent) == [path.name]


def test_what_is_given_in_place_of_weights_is_told(tmp_path, tiny):
    torch.save(tiny.network.state_dict(), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"it looks like torch\.save's\. If you trust it"):
        Classifier.load(tmp_path / "model.pth")
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")
    with pytest.raises(CheckpointError, match="a pointer of Git LFS, and `git lfs pull` fetches"):
        Classifier.load(tmp_path / "pointer")


def test_bad_weights_are_named(tmp_path, tiny):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(CheckpointError, match="is a folder: name the file of weights in it"):
        Classifier.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"no weights at .*weights\.safetensors"):
        load_weights(path)
    save_weights(path, tiny.network, {})
    for content in (path.read_bytes()[:300], b"", b"\x80\x02}q\x00."):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
            load_weights(path)


def test_no_changed_byte_of_a_weights_file_goes_unnoticed(tmp_path, trained):
    path = tmp_path / "weights.safetensors"
    trained.save(path, torch.float16)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [*random.integers(0, header, 60), *random.integers(header, len(whole), 60)]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << random.integers(8)
        path.write_bytes(flipped)
        told = "is damaged: its checksum does not fit" if place >= header else ""
        with pytest.raises(CheckpointError, match=rf"weights\.safetensors .*{told}"):
            Classifier.load(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, trained, value):
    with torch.no_grad():
        trained.network.layer2[0].conv1.weight[3, 2, 1, 0] = value
    trained.save(tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"layer2\.0\.conv1\.weight in it is not finite"):
        Classifier.load(tmp_path / "weights.safetensors")


def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path, tiny):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(tiny.network.state_dict(), path)
    with pytest.raises(CheckpointError, match=r"holds other weights .*it has no checksum"):
        Classifier.load(path)


def test_numpys_numbers_and_names_are_those_of_a_file(tmp_path):
    """As they come out of an array; what was saved can be loaded."""
    history = History((EpochRecord(np.int64(1), *np.ones(7, np.float32)),))
    classifier = Classifier(
        tiny_network(),
        class_names=np.array(list("abcdefghij")),
        normalization=Normalization(np.full(3, 0.5), np.full(3, 0.25, np.float32)),
        size=np.array([32, 24]),
        history=history,
    )
    classifier.save(tmp_path / "weights.safetensors")
    loaded = Classifier.load(tmp_path / "weights.safetensors", tiny_network())
    assert (loaded.class_names, loaded.size) == (tuple("abcdefghij"), (32, 24))
    assert loaded.history == history
