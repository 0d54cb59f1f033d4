import os
import resource

import pytest
import torch

from pytorch_vision.checkpoint import (
    NAME,
    CheckpointError,
    load,
    load_weights,
    save,
    save_weights,
)


def test_what_is_saved_is_loaded(tmp_path):
    state = {"recipe": {"seed": 1}, "weights": torch.arange(5.0), "lines": ["one", "two"]}
    save(tmp_path / "new", state)
    loaded = load(tmp_path / "new")
    assert torch.equal(loaded.pop("weights"), state.pop("weights"))
    assert loaded == state
    assert os.listdir(tmp_path / "new") == [NAME]


def test_nothing_there_is_no_checkpoint(tmp_path):
    assert load(tmp_path) is None


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path):
    save(tmp_path, {"recipe": {}, "generation": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # as a full disk would
    try:
        with pytest.raises((OSError, RuntimeError)):
            save(tmp_path, {"recipe": {}, "generation": 2, "weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load(tmp_path)["generation"] == 1
    assert os.listdir(tmp_path) == [NAME]


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("victim",)


def test_a_bad_file_is_named_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path, {"recipe": {}, "weights": torch.zeros(1000)})
    whole = (tmp_path / NAME).read_bytes()
    hostile = tmp_path / "hostile.pt"
    torch.save({"recipe": {}, "trap": Hostile()}, hostile)
    foreign = tmp_path / "foreign.pt"
    torch.save({"weights": 1}, foreign)
    for content in (whole[:500], b"", b"hello", hostile.read_bytes(), foreign.read_bytes()):
        (tmp_path / NAME).write_bytes(content)
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt is not a checkpoint of ours"):
            load(tmp_path)
        assert (tmp_path / NAME).read_bytes() == content
    assert not (tmp_path / "victim").exists()


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
