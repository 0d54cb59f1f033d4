import errno

import pytest
import safetensors.torch
import torch

from pytorch_vision.models import Classifier
from pytorch_vision.runtime import CheckpointError


def test_a_file_that_cannot_be_opened_is_not_called_missing_or_damaged(path, trained, monkeypatch):
    trained.save(path)

    def fails(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("builtins.open", fails)
    with pytest.raises(OSError, match="Too many open files"):
        Classifier.load(path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path, _: path.mkdir(), "is a folder: name the file of weights in it"),
        (lambda path, _: None, r"no weights at .*weights\.safetensors"),
        (lambda path, _: path.write_bytes(b""), "is not a whole safetensors file"),
        (lambda path, _: path.write_bytes(b"\x80\x02}q\x00."), "is not a whole safetensors file"),
        (
            lambda path, _: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha"),
            "a Git LFS pointer, and `git lfs pull` fetches",
        ),
        (lambda path, state: torch.save(state, path), r"looks like torch\.save's\. Begin a train"),
        (
            lambda path, state: safetensors.torch.save_file(state, path),
            r"\(it has no checksum\)\. Begin a training",
        ),
    ],
)
def test_other_kinds_of_file_are_named(path, tiny, write, message):
    """Damaged ones: see ``tests/torture``."""
    write(path, tiny.network.state_dict())
    with pytest.raises(CheckpointError, match=message):
        Classifier.load(path)
