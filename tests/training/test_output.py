import os
import signal

import pytest
import torch
from hooks import at_step
from small import tiny_network

from pytorch_vision.models import Classifier, EpochRecord, History
from pytorch_vision.training import Output, TrainConfig, train_into

CONFIG = TrainConfig(epochs=2, batch_size=16)
RECORDS = tuple(EpochRecord(e, 2 / e, 40.0, 3 / e, 30.0, 0.1, 1.5, 0.5) for e in (1, 2, 3))


def test_it_is_one_folder_that_is_made(tmp_path):
    output = Output.prepare(tmp_path / "new" / "run")
    assert output.plots.is_dir()
    for path in (output.weights, output.history, output.page, output.plots):
        assert path.is_relative_to(tmp_path / "new" / "run")
    assert os.listdir(output.folder) == ["plots"]
    assert os.listdir(output.plots) == []


@pytest.mark.parametrize("kind", ["file", "under a file", "too long", "weights", "history"])
def test_what_cannot_be_written_shows_at_once(tmp_path, kind):
    folder = tmp_path / "run"
    if kind == "file":
        folder.write_text("in the way")
    elif kind == "under a file":
        folder.write_text("in the way")
        folder /= "deeper"
    elif kind == "too long":
        folder /= "x" * 300
    elif kind == "weights":
        (folder / "weights.safetensors").mkdir(parents=True)
    else:
        (folder / "plots" / "history.csv").mkdir(parents=True)
    with pytest.raises(OSError, match="run"):
        Output.prepare(folder)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only to root"
)
def test_a_read_only_folder_shows_at_once(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        Output.prepare(tmp_path)


def after(tiny: Classifier, epochs: int) -> Classifier:
    """Return the classifier with a history of so many epochs."""
    return tiny.with_network(tiny.network, History(RECORDS[:epochs]))


def test_a_run_that_was_not_finished_is_written_apart(tmp_path, tiny):
    """What a finished one left is not replaced by it, nor the other way round."""
    output = Output.prepare(tmp_path)
    assert output.write(after(tiny, 3), 3) == output
    finished = output.weights.read_bytes()
    apart = output.write(after(tiny, 1), 3)
    assert apart.folder == tmp_path / "unfinished"
    assert output.weights.read_bytes() == finished
    for written, epochs in ((output, 3), (apart, 1)):
        assert Classifier.load(written.weights, tiny_network()).history == History(RECORDS[:epochs])
        assert len(History.from_csv(written.history).records) == epochs
    unfinished = apart.weights.read_bytes()
    output.write(after(tiny, 3), 3)
    assert apart.weights.read_bytes() == unfinished


def test_a_history_is_kept_while_the_run_goes_on(tmp_path, tiny):
    output = Output.prepare(tmp_path)
    output.history.write_text("of a finished run")
    for count in (1, 2):
        output.keep(after(tiny, count))
        assert len(History.from_csv(output.unfinished.history).records) == count
    assert output.history.read_text() == "of a finished run"
    assert output.write(after(tiny, 3), 3) == output
    assert sorted(os.listdir(tmp_path)) == ["plots", "weights.safetensors"]


def test_a_history_that_cannot_be_kept_is_said(tmp_path, tiny, capsys):
    output = Output.prepare(tmp_path)
    (tmp_path / "unfinished").write_text("in the way")
    output.keep(after(tiny, 3))
    assert "The history is not kept in" in capsys.readouterr().out


def test_training_into_a_folder_writes_what_was_trained(tmp_path, few, tiny):
    output = Output.prepare(tmp_path)
    assert train_into(output, tiny, few, CONFIG) == output
    assert sorted(os.listdir(tmp_path)) == ["plots", "weights.safetensors"]
    loaded = Classifier.load(output.weights, tiny_network())
    assert loaded.history == tiny.history
    assert len(History.from_csv(output.history).records) == 2
    for name, tensor in tiny.network.cpu().state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)


def test_what_an_interrupted_training_wrote_is_apart_and_it_can_go_on(tmp_path, few, tiny):
    output, kept = Output.prepare(tmp_path / "run"), tmp_path / "kept"
    at_step(tiny.network, 10, lambda _: os.kill(os.getpid(), signal.SIGINT))
    apart = train_into(output, tiny, few, CONFIG, None, kept)
    assert apart == output.unfinished
    assert not output.weights.exists()
    assert not output.history.exists()
    assert len(Classifier.load(apart.weights, tiny_network()).history.records) == 1
    assert len(History.from_csv(apart.history).records) == 1

    again = tiny.with_network(tiny_network(), History())
    assert train_into(output, again, few, CONFIG, None, kept) == output
    assert len(Classifier.load(output.weights, tiny_network()).history.records) == 2


def test_without_an_epoch_nothing_is_written(tmp_path, few, tiny, capsys):
    output = Output.prepare(tmp_path)
    assert train_into(output, tiny, few, TrainConfig(epochs=0), None, tmp_path / "kept") == output
    assert "Test set: " in capsys.readouterr().out
    assert os.listdir(tmp_path) == ["plots"]
    assert os.listdir(output.plots) == []
