import copy
import functools
import os
import resource
import subprocess

import numpy as np
import pytest
import torch
from small import tiny_network

from pytorch_vision.training import CheckpointError, TrainConfig, fit
from pytorch_vision.training.checkpoint import NAME, load, save
from pytorch_vision.training.run import Run

CONFIG = TrainConfig(epochs=2, batch_size=25, precision="32-true")


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
        with pytest.raises(OSError, match="File too large"):  # not of positions in a file
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


def test_a_checkpoint_of_another_version_or_edited_is_named(few, tmp_path):
    """Every field that there is, missing or of another kind: one clear error for all."""
    fit(tiny_network(), few, CONFIG, tmp_path)
    path = tmp_path / NAME
    whole = torch.load(path, weights_only=True)

    def paths(state, before=()):
        for name, value in state.items() if isinstance(state, dict) else ():
            yield (*before, name)
            if before[:1] != ("recipe",):
                yield from paths(value, (*before, name))

    tried = 0
    for *inside, last in paths(whole):
        for change in ("missing", "other"):
            state = copy.deepcopy(whole)
            part = functools.reduce(lambda part, name: part[name], inside, state)
            if change == "missing":
                del part[last]
            else:
                part[last] = object if part[last] is None else None
            if part.get(last) is object:
                continue
            torch.save(state, path)
            tried += 1
            with pytest.raises(CheckpointError) as caught:
                fit(tiny_network(), few, CONFIG, tmp_path)
            assert path.name in str(caught.value)
            assert "weights_only" not in str(caught.value)
    assert tried > 60


def test_what_a_checkpoint_prints_cannot_command_a_terminal(few, tmp_path):
    fit(tiny_network(), few, CONFIG, tmp_path)
    state = torch.load(tmp_path / NAME, weights_only=True)
    state["run"]["progress"]["log"][0]["text"] = "\x1b[2J all gone"
    torch.save(state, tmp_path / NAME)
    with pytest.raises(CheckpointError, match="control characters"):
        fit(tiny_network(), few, CONFIG, tmp_path)


def test_two_runs_cannot_use_one_folder(few, tmp_path, monkeypatch):
    messages, step = [], Run.step

    def second(run, images, labels):
        if not messages:
            messages.append("")
            with pytest.raises(CheckpointError) as caught:
                fit(tiny_network(), few, CONFIG, tmp_path)
            messages.append(str(caught.value))
        step(run, images, labels)

    monkeypatch.setattr(Run, "step", second)
    fit(tiny_network(), few, CONFIG, tmp_path)
    assert f"{tmp_path} is in use by process {os.getpid()} on " in messages[1]
    monkeypatch.undo()
    fit(tiny_network(), few, CONFIG, tmp_path)  # nobody is in it any more


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    child = subprocess.Popen(["sleep", "0"])
    child.wait()
    dead = tmp_path / f".{NAME}.{child.pid}.tmp"
    alive = tmp_path / f".{NAME}.{os.getppid()}.tmp"
    for path in (dead, alive):
        path.write_bytes(b"half of it")
    save(tmp_path, {"recipe": {}})
    assert sorted(os.listdir(tmp_path)) == sorted([alive.name, NAME])
