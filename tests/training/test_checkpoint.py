import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hooks import at_step, interrupt_at
from small import (
    EXACT,
    UNVARIED,
    equal,
    tiny_classifier,
    tiny_network,
    without_seconds,
)

from pytorch_vision.data import Normalization
from pytorch_vision.models import Classifier, History
from pytorch_vision.runtime import CheckpointError, Machine
from pytorch_vision.training import TrainConfig, fit
from pytorch_vision.training.checkpoint import NAME, load

CONFIG = TrainConfig(epochs=3, batch_size=16, seed=1)
ON_CPU = Machine(accelerator="cpu")
GREY = Normalization((0.5,) * 3, (0.2,) * 3)


@pytest.fixture(scope="module")
def finished(few, tmp_path_factory) -> tuple[Path, Classifier]:
    """The folder of a finished run, and what it has trained."""
    folder, classifier = tmp_path_factory.mktemp("finished"), tiny_classifier(few)
    fit(classifier, few, CONFIG, EXACT, folder)
    return folder, classifier


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({}, (1, 6, 7, 8)),
        ({"optimizer": "sgd"}, (3, 14, 20)),
        ({"progressive_resizing": 0.75}, (10,)),
        ({"pruning": 0.4}, (9,)),
    ],
)
def test_a_run_stopped_in_a_step_ends_with_the_same_bits_on_a_cpu(few, tmp_path, changes, steps):
    config, whole = replace(CONFIG, **changes), tiny_classifier(few)
    expected = without_seconds(fit(whole, few, config, ON_CPU))
    for step in steps:
        stopped, resumed = tiny_classifier(few), tiny_classifier(few)
        interrupt_at(stopped.network, step)
        history = fit(stopped, few, config, ON_CPU, tmp_path / str(step))
        assert without_seconds(history) == expected[: (step - 1) // 7]
        torch.manual_seed(99)  # a new process's random state must not matter
        assert without_seconds(fit(resumed, few, config, ON_CPU, tmp_path / str(step))) == expected
        assert equal(whole.network, resumed.network)


def test_a_finished_run_is_not_trained_again(few, tiny, finished, capsys):
    """Its lines are printed again."""
    folder, classifier = finished
    assert fit(tiny, few, CONFIG, EXACT, folder) == classifier.history
    assert equal(classifier.network, tiny.network)
    printed = capsys.readouterr().out
    assert "From the checkpoint, run on " in printed
    for record in tiny.history.records:
        assert f"\nEpoch {record.epoch}/3 Loss={record.train_loss:.4f} Batch_id=6 " in printed
        assert f"\nTest set: Average loss: {record.test_loss:.4f}, " in printed


def test_a_run_ended_by_after_epoch_can_be_continued(few, tiny, tmp_path, capsys):
    """Also with NumPy's numbers in its recipe, as from a loop over np.logspace."""
    rate = np.logspace(-2, -1, 3)[1]
    config = replace(CONFIG, seed=np.uint8(3), learning_rate=rate, label_smoothing=np.float32(0.25))
    plain = replace(CONFIG, seed=3, learning_rate=float(rate), label_smoothing=0.25)

    def second(tested: Classifier) -> bool:
        return len(tested.history.records) == 2

    for classifier in (tiny, tiny_classifier(few)):  # the second goes on from the checkpoint
        assert len(fit(classifier, few, config, None, tmp_path, second).records) == 2
        assert "Stopped after epoch 2: after_epoch returned True" in capsys.readouterr().out
    assert equal(tiny.network, classifier.network)
    assert len(fit(tiny_classifier(few), few, plain, None, tmp_path).records) == 3


def having(classifier: Classifier, **attributes: Any) -> Classifier:
    vars(classifier).update(attributes)
    return classifier


@pytest.mark.parametrize(
    ("named", "changed"),
    [
        ("epochs was 3 and is 4", {"config": lambda own: replace(own, epochs=4)}),
        ("augmentation was ", {"config": lambda own: replace(own, augmentation=UNVARIED)}),
        ("data was ", {"data": lambda own: replace(own, test_labels=own.test_labels[::-1])}),
        ("network was ", {"classifier": lambda own: own.with_network(tiny_network(False))}),
        ("normalization was ", {"classifier": lambda own: having(own, normalization=GREY)}),
        (
            "begins_with was 'missing' and is 'other weights'",
            {"classifier": lambda own: having(own, begins_with="other weights")},
        ),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(few, tiny, finished, named, changed):
    folder, _ = finished
    before = (folder / NAME).read_bytes()
    run = {"classifier": tiny, "data": few, "config": CONFIG}
    run |= {name: change(run[name]) for name, change in changed.items()}
    with pytest.raises(CheckpointError, match=f"another run: {named}") as caught:
        fit(**run, machine=EXACT, checkpoints=folder)
    assert ("start a new run from its weights" in str(caught.value)) == named.startswith("epochs")
    assert (folder / NAME).read_bytes() == before
    assert run["classifier"].history == History()


def test_a_checkpoint_folder_that_cannot_be_written(few, tiny, tmp_path, capsys):
    """It is named before training; if it is lost later, training goes on."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file/folder"):
        fit(tiny, few, CONFIG, None, tmp_path / "file" / "folder")
    assert "Epoch" not in capsys.readouterr().out
    folder = tmp_path / "kept"

    def lose(_: torch.Tensor) -> None:
        shutil.rmtree(folder)
        folder.write_text("in the way")

    at_step(tiny.network, 1, lose)
    assert len(fit(tiny, few, CONFIG, None, folder).records) == 3
    assert "No checkpoint saved" in capsys.readouterr().out


def test_a_foreign_file_is_named_and_left_as_it_was(tmp_path):
    """Hostile and damaged ones: see ``tests/torture``."""
    torch.save({"weights": 1}, tmp_path / NAME)
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is not a valid checkpoint .*format"):
        load(tmp_path)
    assert (tmp_path / NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.update(format=4), "not in format"),
        (lambda state: state.pop("identity"), "KeyError"),
        (lambda state: state["run"]["parts"].pop("network"), "KeyError"),
        (lambda state: state["run"]["parts"]["network"].popitem(), "RuntimeError"),
        (lambda state: state["run"].update(sums=None), "TypeError"),
        (lambda state: state["run"]["random"].update(numpy=[]), "ValueError"),
        (lambda state: state["run"]["progress"].update(epoch=2), "ValueError"),
        (lambda state: state["run"]["progress"].update(bar_line=5), "ValueError"),
        (lambda state: state["run"]["progress"].update(unknown=5), "TypeError"),
        (lambda state: state.update(hardware="\x1b[2J"), "control characters"),
        (
            lambda state: state["run"]["progress"]["log"][0].update(text="\x1b[2J all gone"),
            "control characters",
        ),
    ],
)
def test_a_checkpoint_of_another_version_or_edited_is_refused(few, tiny, tmp_path, change, reason):
    fit(tiny, few, CONFIG, EXACT, tmp_path, lambda tested: True)
    state = torch.load(tmp_path / NAME, weights_only=True)
    change(state)
    torch.save(state, tmp_path / NAME)
    refusal = rf"checkpoint\.pt is not a valid checkpoint .*{reason}"
    with pytest.raises(CheckpointError, match=refusal):
        fit(tiny_classifier(few), few, CONFIG, EXACT, tmp_path)


@pytest.mark.parametrize("step", ["torch.load", "restore_training"])
def test_lack_of_memory_is_not_taken_for_a_damaged_file(few, tiny, tmp_path, monkeypatch, step):
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    fit(tiny, few, CONFIG, EXACT, tmp_path, lambda tested: True)
    monkeypatch.setattr(f"pytorch_vision.training.checkpoint.{step}", full)
    with pytest.raises(MemoryError, match="try batch_size=8"):
        fit(tiny_classifier(few), few, CONFIG, EXACT, tmp_path)
