import copy
import functools
import os

import pytest
import torch
from small import tiny_classifier

from pytorch_vision.models import Classifier
from pytorch_vision.runtime import CheckpointError, Machine
from pytorch_vision.training import TrainConfig, fit
from pytorch_vision.training.checkpoint import NAME, load, save

CONFIG = TrainConfig(epochs=2, batch_size=25)
EXACT = Machine(precision="32-true")


def test_what_is_saved_is_loaded(tmp_path):
    state = {"identity": {"seed": 1}, "weights": torch.arange(5.0), "lines": ["one", "two"]}
    save(tmp_path / "new", state)
    loaded = load(tmp_path / "new")
    assert torch.equal(loaded.pop("weights"), state.pop("weights"))
    assert loaded == state
    assert os.listdir(tmp_path / "new") == [NAME]


def test_nothing_there_is_no_checkpoint(tmp_path):
    assert load(tmp_path) is None


def test_a_foreign_file_is_named_and_left_as_it_was(tmp_path):
    """Hostile and damaged ones: see ``tests/torture``."""
    torch.save({"weights": 1}, tmp_path / NAME)
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is not a checkpoint of ours .*form"):
        load(tmp_path)
    assert (tmp_path / NAME).read_bytes() == before


def test_a_checkpoint_of_another_version_or_edited_is_named(few, tiny, tmp_path):
    """Every field that there is, missing or of another kind: one clear error for all."""
    fit(tiny, few, CONFIG, EXACT, tmp_path)
    path = tmp_path / NAME
    whole = torch.load(path, weights_only=True)

    def paths(state, before=()):
        for name, value in state.items() if isinstance(state, dict) else ():
            yield (*before, name)
            if before[:1] != ("identity",):
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
                fit(tiny_classifier(few), few, CONFIG, EXACT, tmp_path)
            assert path.name in str(caught.value)
            assert "weights_only" not in str(caught.value)
    assert tried > 60


def test_what_a_checkpoint_prints_cannot_command_a_terminal(few, tiny, tmp_path):
    fit(tiny, few, CONFIG, EXACT, tmp_path)
    state = torch.load(tmp_path / NAME, weights_only=True)
    state["run"]["progress"]["log"][0]["text"] = "\x1b[2J all gone"
    torch.save(state, tmp_path / NAME)
    with pytest.raises(CheckpointError, match="control characters"):
        fit(tiny_classifier(few), few, CONFIG, EXACT, tmp_path)


def test_two_runs_cannot_use_one_folder(few, tiny, tmp_path):
    messages = []

    def second(_: Classifier) -> None:
        with pytest.raises(CheckpointError) as caught:
            fit(tiny_classifier(few), few, CONFIG, EXACT, tmp_path)
        messages.append(str(caught.value))

    fit(tiny, few, CONFIG, EXACT, tmp_path, second)
    assert f"{tmp_path} is in use by process {os.getpid()} on " in messages[0]
    fit(tiny_classifier(few), few, CONFIG, EXACT, tmp_path)  # nobody is in it any more
