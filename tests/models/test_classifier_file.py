import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import TwoNames
from small import equal, left_alone, tiny_network

from pytorch_vision.data import Normalization
from pytorch_vision.data.image_files import DIGEST_LENGTH
from pytorch_vision.models import Classifier, EpochRecord, History, ResNet, ResNet18
from pytorch_vision.models.registry import MODELS, describe_network
from pytorch_vision.models.weights import read_safetensors, save_weights
from pytorch_vision.runtime import CheckpointError


def test_a_saved_classifier_loads_with_everything(path):
    """It was made with NumPy's values."""
    classifier = Classifier(
        ResNet((1, 1, 1, 1), 10, "standard"),
        class_names=np.array(list("abcdefghij")),
        normalization=Normalization(np.full(3, 0.5), np.full(3, 0.25, np.float32)),
        size=np.array([48, 64]),
        resize="pad",
        scales={"uint16": (0.0, 4095.0)},
        history=History((EpochRecord(np.int64(1), *np.ones(7, np.float32)),)),
        description="a network on a few",
        train_digests=["0" * DIGEST_LENGTH, "a" * DIGEST_LENGTH],
    )
    classifier.save(path)
    loaded = Classifier.load(path)
    assert describe_network(loaded.network) == "ResNet10 (conv_padding='standard')"
    assert equal(loaded.network, classifier.network)
    assert (loaded.class_names, loaded.size) == (tuple("abcdefghij"), (48, 64))
    kept = vars(classifier).keys() - {"_network", "_calls", "_of_data", "begins_with"}
    assert {name: vars(loaded)[name] for name in kept} == {k: vars(classifier)[k] for k in kept}


def test_a_file_in_float16_has_half_the_size(path, trained):
    trained.save(path, torch.float16)
    parameters = sum(parameter.numel() for parameter in trained.network.parameters())
    assert path.stat().st_size < 2.1 * parameters
    weight = Classifier.load(path).network.linear.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, trained.network.linear.weight.half().float())


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
def test_another_architecture_is_refused(path, trained, wanted, message):
    trained.save(path)
    with pytest.raises(CheckpointError, match=message):
        Classifier.load(path, wanted)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ResNet18", {}),
        ("CustomResNet", {}),
        ("CustomResNet", {"mirrored": True}),
        ("torchvision:mobilenet_v3_small", {}),
        ("torchvision:regnet_y_400mf", {}),  # computes while it is made
    ],
)
def test_every_network_by_name_comes_back(path, few, name, options):
    classifier = Classifier(name, few, **options)
    classifier.save(path)
    random_state = torch.get_rng_state()
    loaded = Classifier.load(path)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert describe_network(loaded.network) == describe_network(classifier.network)
    assert equal(loaded.network, classifier.network)
    assert loaded.description == f"{name} on a few images"
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        logits = classifier.network.eval()(images)
        # close, as the memory format of the weights may differ
        torch.testing.assert_close(loaded.network.eval()(images), logits)


def test_non_persistent_buffers_are_made_again(path, few, monkeypatch):
    class WithBuffer(torch.nn.Linear):
        def __init__(self, num_classes: int) -> None:
            super().__init__(3, num_classes)
            self.register_buffer("places", torch.arange(3.0), persistent=False)

    monkeypatch.setitem(MODELS, "WithBuffer", WithBuffer)
    made = Classifier("WithBuffer", few)
    made.save(path)
    loaded = Classifier.load(path).network
    assert torch.equal(loaded.places, torch.arange(3.0))
    assert torch.equal(loaded.weight, made.network.weight)


def test_a_custom_network_is_loaded_into_the_callers_module(path, tiny):
    tiny.save(path)
    with pytest.raises(CheckpointError, match=r"weights of a custom network, which onl"):
        Classifier.load(path)
    for given in (tiny_network(), lambda classes: tiny_network()):
        assert equal(Classifier.load(path, given).network, tiny.network)
    with pytest.raises(
        ValueError, match=r"network\(10\) fails: .*Expected a network, or a function"
    ):
        Classifier.load(path, lambda: tiny_network())
    with pytest.raises(ValueError, match=r"network\(10\) made NoneType, expected a Module"):
        Classifier.load(path, lambda classes: None)
    another = tiny_network(normalization=False)
    refusal = r"does not fit Sequential: 1\.bias is \(8,\), expect"
    with left_alone(another), pytest.raises(CheckpointError, match=refusal):
        Classifier.load(path, another)


@pytest.mark.parametrize(
    "made_by",
    [
        {"name": "antigravity_of_mine:build"},
        {"name": "torchvision:resnet18", "weights": "DEFAULT"},
        {"name": "torchvision:mobilenet_v3_small@DEFAULT"},
    ],
)
def test_a_weights_file_never_causes_an_import_or_a_download(path, tiny, monkeypatch, made_by):
    """Only a module that the caller names is imported."""
    tiny.network.made_by = made_by
    tiny.save(path)
    (path.parent / "antigravity_of_mine.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(path.parent)
    with pytest.raises(CheckpointError, match=f"{made_by['name']}, which only you can make"):
        Classifier.load(path)
    assert "antigravity_of_mine" not in sys.modules


def test_foreign_metadata_is_refused(path, trained):
    trained.save(path)
    metadata = read_safetensors(path)[1]
    names, network = (json.loads(metadata[name]) for name in ("class_names", "network"))
    wrong = {
        "size": [[32], [32, 0], [32, 1 << 40], "32", [32.5, 32]],
        "resize": ["stretch", 3],
        "class_names": [
            ["x"] * 200_000,
            "abcdefghij",
            [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            [*names[:9], "\x1b[2Jtruck"],  # clears a terminal
            [*names[:9], "x" * 1_000_000],
            ["one", "two"],
        ],
        "normalization": [
            3,
            [[0, 0, 0], [1, 1]],
            [[0, 0, 0], [1, 1, 0]],
            [[0, 0, 1e999], [1] * 3],
        ],
        "history": [[{"epoch": 1}], [1], 3, [{"epoch": 1, "train_loss": "x"}]],
        "description": [1, "\x1b]0;title\x07", "x" * 1_000_000],
        "network": [
            {**network, "blocks": [2, 2, 2, 2]},
            # each of these would ask for gigabytes, or hours
            {**network, "blocks": [1, 1, 1, 1_000_000_000]},
            {**network, "blocks": [-1_000_000, 1_000_001, 1, 1]},
            {**network, "blocks": [1.5, 1, 1, 1]},
            {**network, "blocks": "1111"},
            {**network, "conv_padding": "round"},
            {**network, "conv_padding": 1},
            {**network, "name": "ResNet18"},
            {**network, "name": 3},
            {"name": "torchvision:nothing"},
            {"name": "torchvision:resnet18"},
            "ResNet18",
        ],
    }
    foreign = [{"about": "nothing"}]
    for name, values in wrong.items():
        foreign += [{**metadata, name: json.dumps(value)} for value in values]
        foreign.append({key: text for key, text in metadata.items() if key != name})
    for one in foreign:
        save_weights(path, trained.network, one, torch.float16)
        with pytest.raises(CheckpointError, match="is not a file that"):
            Classifier.load(path)


def test_an_installed_package_says_that_it_has_no_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pytorch_vision.models.classifier_file.PRETRAINED", tmp_path / "none.safetensors"
    )
    with pytest.raises(CheckpointError, match="they come with a clone of PyTorch_Vision"):
        Classifier.load("pretrained")


NAMES = {
    "full-width space": "\u9ed2\u3000\u732b",
    "zero-width non-joiner": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0628\u062f",
    "right to left": "\u200f\u05e9\u05dc\u05d5\u05dd",
    "long": "x" * 5000,
    "control characters": "a\tb\nc\x1b[31m\x7f",
    "half a character": "caf\udce9",
}


@pytest.mark.parametrize("kind", NAMES)
def test_any_class_name_is_saved_and_loaded(few, path, kind, capsys):
    data = replace(few, class_names=(NAMES[kind], *few.class_names[1:]), name=NAMES[kind])
    classifier = Classifier(tiny_network(), data)
    classifier.save(path)
    loaded = Classifier.load(path, tiny_network())
    assert loaded.class_names == classifier.class_names == data.class_names
    assert loaded.description == classifier.description
    loaded.check(data)
    print(*loaded.class_names, loaded)
    capsys.readouterr().out.encode()
    assert "\x1b" not in loaded.class_names[0]
    if kind not in ("control characters", "half a character"):
        assert loaded.class_names[0] == NAMES[kind]


def test_shared_weights_stay_shared(few, path):
    Classifier(TwoNames(), few).save(path)
    network = Classifier.load(path, TwoNames()).network
    assert network.again.weight is network.conv2.weight is network.backbone[2].weight


def test_a_named_network_that_was_changed_is_its_owners(path, few):
    """Its tensors would fit the unchanged one."""
    classifier = Classifier("torchvision:resnet18", few)
    classifier.network.conv1.stride, classifier.network.maxpool = (1, 1), torch.nn.Identity()
    classifier.save(path)
    with pytest.raises(CheckpointError, match="which only you can make: pass it"):
        Classifier.load(path)
    again = Classifier.load(path, classifier.network)
    assert again.network.conv1.stride == (1, 1)
