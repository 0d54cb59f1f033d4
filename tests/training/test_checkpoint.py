import pytest
import torch
from small import EXACT, tiny_classifier

from pytorch_vision.runtime import CheckpointError
from pytorch_vision.training import TrainConfig, fit
from pytorch_vision.training.checkpoint import NAME, load

CONFIG = TrainConfig(epochs=2, batch_size=25)


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
    with pytest.raises(MemoryError, match="try batch_size=12"):
        fit(tiny_classifier(few), few, CONFIG, EXACT, tmp_path)
