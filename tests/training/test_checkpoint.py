import os
import resource

import numpy as np
import pytest
import torch

from pytorch_vision.training import CheckpointError
from pytorch_vision.training.checkpoint import NAME, load, save


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


def test_no_changed_byte_of_a_checkpoint_changes_what_is_loaded(tmp_path):
    """Most are noticed; the others are in the archive's own bookkeeping, and change nothing."""
    state = {"recipe": {"seed": 1}, "weights": torch.arange(2000.0), "lines": ["one", "two"]}
    save(tmp_path, state)
    path, random = tmp_path / NAME, np.random.default_rng(0)
    whole = path.read_bytes()
    noticed = 0
    for place in random.integers(0, len(whole), 200):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << random.integers(8)
        path.write_bytes(flipped)
        try:
            loaded = load(tmp_path)
        except CheckpointError:
            noticed += 1
            continue
        assert torch.equal(loaded["weights"], state["weights"])
        assert {**loaded, "weights": 0} == {**state, "weights": 0}
    assert noticed > 150
