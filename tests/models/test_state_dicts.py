import argparse
from collections.abc import Callable
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from small import State, tiny_network
from torch import nn

from pytorch_vision.models import Classifier
from pytorch_vision.models.module_utils import tensors_of
from pytorch_vision.models.state_dicts import match_tensors, read_state_dict
from pytorch_vision.runtime import CheckpointError


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


WRAPPED: dict[str, Callable[[State], Any]] = {
    "torchvision": lambda state: state,
    "data parallel": lambda state: prefixed("module.", state),
    "lightning": lambda state: {
        "state_dict": prefixed("model.", state), "epoch": 3, "hyper_parameters": {"lr": 0.1},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
    },
    "timm's training": lambda state: {
        "epoch": 3, "state_dict": state, "args": argparse.Namespace(model="tiny"),
        "metric": np.float64(93.5),
    },
    "timm's averages": lambda state: {
        "state_dict": {name: 0 * one for name, one in state.items()}, "state_dict_ema": state,
    },
    "torchvision's training": lambda state: {"model": state, "optimizer": {"state": {}}},
    "compiled and parallel": lambda state: {"model": prefixed("module._orig_mod.", state)},
    "half": lambda state: {name: one.half() for name, one in state.items()},
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kind", WRAPPED)
def test_state_dicts_of_several_libraries_are_loaded(tmp_path, few, kind, suffix):
    source = tiny_network()
    with torch.no_grad():
        source[0].weight += 1
    content, path = WRAPPED[kind](source.state_dict()), tmp_path / f"weights{suffix}"
    if suffix != ".safetensors":
        torch.save(content, path)
    elif all(isinstance(value, torch.Tensor) for value in content.values()):
        safetensors.torch.save_file(content, path, {"format": "pt"})
    else:
        return
    classifier = Classifier(tiny_network(), few)
    told = classifier.begin_with(path)
    assert told == f"Beginning with the weights of weights{suffix}: 10 of 10 tensors taken"
    assert torch.allclose(classifier.network[0].weight, source[0].weight, atol=1e-2)


def test_numbers_of_numpy_1_are_read(tmp_path):
    torch.save({"state_dict": tiny_network().state_dict(), "best": np.float64(0.9)}, tmp_path / "2")
    with ZipFile(tmp_path / "2") as new, ZipFile(tmp_path / "1", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core", b"numpy.core"))
    assert b"numpy.core" in (tmp_path / "1").read_bytes()
    assert len(read_state_dict(tmp_path / "1")[0]) == len(tiny_network().state_dict())


def test_a_last_layer_of_other_classes_stays_new(tmp_path, few):
    torch.save(prefixed("backbone.", tiny_network(classes=1000).state_dict()), tmp_path / "w.pt")
    classifier = Classifier(tiny_network(), few)
    assert classifier.begin_with(tmp_path / "w.pt").splitlines() == [
        "Beginning with the weights of w.pt: 8 of 10 tensors taken",
        "left in the file: backbone.7.weight, backbone.7.bias",
        "new, not in the file: 7.weight, 7.bias",
    ]


@pytest.mark.parametrize(
    "names",
    [
        "{}",
        "model.{}",  # as Lightning has it
        "{0[0]}.module.{0[1]}",  # DataParallel around a part
        "module.net._orig_mod.{}",
    ],
)
def test_prefixes_in_the_network_and_in_the_file_are_matched(names):
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(tiny_network())
            self.head = nn.Linear(10, 2)

    file = {
        names.format(name.split(".", 1) if "0[0]" in names else name): tensor
        for name, tensor in nn.Sequential(tiny_network()).state_dict().items()
    }
    matched = match_tensors(Outer().state_dict(), file)
    assert len(matched.taken) == 10
    assert matched.left == []
    assert matched.missing == ["head.weight", "head.bias"]


def test_a_state_dict_of_another_network_is_refused_with_its_names(tmp_path, few):
    torch.save(nn.Sequential(nn.Linear(3, 4)).state_dict(), tmp_path / "w.pth")
    refusal = (
        r"w\.pth does not fit Sequential: of its 10 tensors only 0 .*\. The file has "
        r"0\.weight, 0\.bias; the network has 0\.weight, 1\.weight"
    )
    with pytest.raises(CheckpointError, match=refusal):
        Classifier(tiny_network(), few).begin_with(tmp_path / "w.pth")


class Harmful:
    def __reduce__(self) -> Any:
        return print, ("ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Harmful(), r"more than weights \(.*print\), and could run code\. If you trust"),
        (
            tiny_network(),
            r"more than weights \(torch\.nn.*\), and could run code\. If you trust it",
        ),
        ({"epoch": 3}, "holds no weights: there is no dict of tensors in it"),
        ({"w": torch.tensor([torch.nan])}, "cannot be used: its tensor w holds NaN"),
    ],
)
def test_files_without_usable_weights_are_refused(tmp_path, content, message, capsys):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path / "w.pth")
    assert capsys.readouterr().out == ""


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(tiny_network().state_dict(), path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(tiny_network()[0].weight.detach().numpy().tobytes()) + 5] ^= 1
    for content in (whole[:300], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"w\.pth cannot be read: it is damaged"):
            read_state_dict(path)


@pytest.mark.parametrize(("name", "size"), [("densenet121", 64), ("vit_b_32", 224)])
def test_torchvisions_older_names_are_understood(name, size):
    network = torchvision.models.get_model(name)
    renamed = {"mlp.0.": "mlp.linear_1.", "mlp.3.": "mlp.linear_2."} | {
        f"{kind}{number}.": f"{kind}.{number}." for kind in ("norm", "conv") for number in (1, 2)
    }
    own, older = tensors_of(network), {}
    for new, tensor in own.items():
        inner = "denselayer" in new or "mlp" in new
        for now, before in renamed.items() if inner else ():
            new = new.replace(now, before)
        older[new] = tensor
    assert own.keys() != older.keys()
    assert match_tensors(own, older).taken.keys() == own.keys()
