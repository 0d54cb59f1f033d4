import errno
import os

import numpy as np
import pytest
import safetensors.torch
import torch

from pytorch_vision.models import Classifier
from pytorch_vision.models.weights import read_weights, save_weights
from pytorch_vision.runtime import CheckpointError


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_come_back(tmp_path, tiny, dtype):
    path = tmp_path / "new" / "weights.safetensors"
    save_weights(path, tiny.network, {"model": "tiny"}, dtype)
    tensors, metadata = read_weights(path)
    assert metadata == {"model": "tiny"}
    for name, tensor in tiny.network.state_dict().items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor.to(dtype).to(tensor.dtype))
    assert os.listdir(path.parent) == [path.name]


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


def test_bad_weights_are_named(tmp_path, tiny):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(CheckpointError, match="is a folder: name the file of weights in it"):
        Classifier.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"no weights at .*weights\.safetensors"):
        read_weights(path)
    save_weights(path, tiny.network, {})
    for content in (path.read_bytes()[:300], b"", b"\x80\x02}q\x00."):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
            read_weights(path)


def test_other_kinds_of_file_are_named(tmp_path, tiny):
    torch.save(tiny.network.state_dict(), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"looks like torch\.save's\. Begin a training with"):
        Classifier.load(tmp_path / "model.pth")
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")
    with pytest.raises(CheckpointError, match="a pointer of Git LFS, and `git lfs pull` fetches"):
        Classifier.load(tmp_path / "pointer")


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
        told = "is damaged: its checksum does not match" if place >= header else ""
        with pytest.raises(CheckpointError, match=rf"weights\.safetensors .*{told}"):
            Classifier.load(path)


def test_weights_that_hold_nan_are_refused(tmp_path, trained):
    with torch.no_grad():
        trained.network.layer2[0].conv1.weight[3, 2, 1, 0] = torch.nan
    trained.save(tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"layer2\.0\.conv1\.weight in it holds NaN"):
        Classifier.load(tmp_path / "weights.safetensors")


def test_a_safetensors_file_of_another_library_is_no_classifier(tmp_path, tiny):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(tiny.network.state_dict(), path)
    with pytest.raises(CheckpointError, match=r"\(it has no checksum\)\. Begin a training"):
        Classifier.load(path)
