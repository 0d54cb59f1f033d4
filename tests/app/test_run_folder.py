import json
import os
import signal
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import torch
from hooks import at_step
from small import tiny_network

from pytorch_vision.app import Output, train_into
from pytorch_vision.data import Augmentation, ImageData
from pytorch_vision.models import Classifier, EpochRecord, History
from pytorch_vision.runtime import Machine
from pytorch_vision.training import TrainConfig

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
    assert sorted(os.listdir(tmp_path)) == ["plots", "run.json", "weights.safetensors"]
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

    assert made_with(apart)["status"] == "interrupted"
    started = made_with(apart)["started"]

    assert train_into(output, anew(few), few, CONFIG, None, kept) == output
    assert len(Classifier.load(output.weights, tiny_network()).history.records) == 2
    assert made_with(output)["started"] == started
    assert sorted(os.listdir(output.folder)) == ["plots", "run.json", "weights.safetensors"]


def test_without_an_epoch_nothing_is_written(tmp_path, few, tiny, capsys):
    output = Output.prepare(tmp_path)
    assert train_into(output, tiny, few, TrainConfig(epochs=0), None, tmp_path / "kept") == output
    assert "Test set: " in capsys.readouterr().out
    assert os.listdir(tmp_path) == ["plots"]
    assert os.listdir(output.plots) == []


def made_with(output: Output) -> dict:
    return json.loads((output.folder / "run.json").read_text(encoding="utf-8"))


def anew(data: ImageData) -> Classifier:
    return Classifier(tiny_network(), data)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OTHERS = {
    "rate": {"config": replace(CONFIG, learning_rate=0.01)},
    "seed": {"config": replace(CONFIG, seed=1)},
    "epochs": {"config": replace(CONFIG, epochs=1)},
    "augmentation": {"config": replace(CONFIG, augmentation=Augmentation(cutout=0))},
    "weights": {"notes": {"begins_with": {"sha256": "other"}}},
}


@pytest.mark.parametrize("other", [*OTHERS, "data", "network"])
def test_another_run_does_not_replace_one(tmp_path, few, capsys, other):
    output = Output.prepare(tmp_path / "mine")
    train_into(output, anew(few), few, CONFIG)
    before = contents(output.folder)
    data = replace(few, train_images=255 - few.train_images) if other == "data" else few
    classifier = anew(data)
    if other == "network":
        classifier = Classifier(tiny_network(normalization=False), data)
    given = {"config": CONFIG, **OTHERS.get(other, {})}
    for _ in range(2):  # it has a place of its own, then
        written = train_into(output, classifier, data, **given)
        assert written.folder == tmp_path / "mine-2"
        assert f"{output.folder} holds another run, which stays" in capsys.readouterr().out
    assert contents(output.folder) == before
    assert made_with(written)["identity"] != made_with(output)["identity"]
    assert train_into(output, classifier, data, **given, overwrite=True) == output
    assert made_with(written)["identity"] == made_with(output)["identity"]


def test_the_same_run_has_the_same_place_on_any_machine(tmp_path, few, capsys):
    output = Output.prepare(tmp_path / "mine")
    for machine in (Machine(), Machine(accelerator="cpu", precision="32-true")):
        assert train_into(output, anew(few), few, CONFIG, machine) == output
    assert made_with(output)["machine"]["device"].endswith("32-true")
    assert os.listdir(tmp_path) == ["mine"]


@pytest.mark.parametrize("kind", ["no run.json", "a damaged one", "one of somebody else"])
def test_weights_of_an_unknown_run_stay(tmp_path, few, kind):
    output = Output.prepare(tmp_path / "mine")
    output.weights.write_text("good ones")
    if kind != "no run.json":
        (output.folder / "run.json").write_text("[" if kind == "a damaged one" else '{"id": 5}')
    assert train_into(output, anew(few), few, CONFIG).folder == tmp_path / "mine-2"
    assert output.weights.read_text() == "good ones"


def test_a_test_of_a_classifier_replaces_no_pictures(tmp_path, few):
    output = Output.prepare(tmp_path / "mine")
    train_into(output, anew(few), few, CONFIG)
    tested = train_into(output, anew(few), few, replace(CONFIG, epochs=0))
    assert tested.folder == tmp_path / "mine-2"
    assert not tested.weights.exists()


def test_a_run_without_a_name_has_the_next_one_inside(tmp_path, few, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = Output.prepare(".")
    output.weights.write_text("good ones")
    assert train_into(output, anew(few), few, CONFIG).folder == Path("run-2")


def test_what_a_run_was_made_with_is_in_one_file(tmp_path, few, tiny):
    output = train_into(Output.prepare(tmp_path), tiny, few, CONFIG, notes={"command": "make it"})
    found = made_with(output)
    assert found["command"] == "make it"
    assert found["status"] == "finished"
    assert datetime.fromisoformat(found["started"]) <= datetime.fromisoformat(found["ended"])
    settings = found["settings"]
    assert (settings["epochs"], settings["batch_size"], settings["cutout"]) == (2, 16, 16)
    assert settings["accelerator"] == "auto"
    data = found["data"]
    assert (data["training_images"], data["test_images"], len(data["classes"])) == (100, 50, 10)
    assert data["classes"]["cat"]["training"] == 10
    assert few.fingerprint.startswith(data["fingerprint"])
    last = tiny.history.records[-1]
    figures = found["figures"]
    assert (figures["epochs"], figures["test_accuracy"]) == (2, last.test_accuracy)
    assert found["versions"]["torch"] == torch.__version__
    assert "threads" in found["machine"]["device"]


def test_while_a_run_goes_on_it_says_so(tmp_path, few, tiny):
    output, seen = Output.prepare(tmp_path), []

    def look(_: Classifier) -> None:
        seen.append(made_with(output.unfinished)["status"])
        assert not (tmp_path / "run.json").exists()

    train_into(output, tiny, few, CONFIG, after_epoch=look)
    assert seen == ["running", "running"]


@pytest.mark.parametrize("average_weights", [True, False])
def test_a_run_that_was_stopped_early_is_a_finished_one(tmp_path, few, tiny, average_weights):
    config = replace(CONFIG, epochs=5, average_weights=average_weights)
    output = Output.prepare(tmp_path)
    tested = []

    def stop(classifier: Classifier) -> bool:
        tested.append({n: t.clone() for n, t in classifier.network.state_dict().items()})
        return len(tested) == 2

    assert train_into(output, tiny, few, config, after_epoch=stop) == output
    loaded = Classifier.load(output.weights, tiny_network())
    assert len(loaded.history.records) == made_with(output)["figures"]["epochs"] == 2
    assert made_with(output)["status"].startswith("stopped early")
    for network in (tiny.network, loaded.network):
        assert all(torch.equal(t, tested[-1][n]) for n, t in network.state_dict().items())
    assert not output.unfinished.folder.exists()


def test_a_run_that_failed_says_how_and_leaves_nothing_in_the_way(tmp_path, few, tiny):
    output = Output.prepare(tmp_path / "mine")
    at_step(tiny.network, 10, lambda images: images.fill_(float("nan")))
    with pytest.raises(FloatingPointError):
        train_into(output, tiny, few, CONFIG)
    assert made_with(output.unfinished)["status"].startswith("failed: the loss is not finite")
    other = Output.prepare(tmp_path / "other")
    at_step((classifier := anew(few)).network, 1, lambda images: images.fill_(float("nan")))
    with pytest.raises(FloatingPointError):
        train_into(other, classifier, few, CONFIG)
    assert os.listdir(other.folder) == ["plots"]


def test_where_nothing_can_be_written_shows_without_making_anything(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "new" / "run"):
        with pytest.raises(NotADirectoryError, match="file"):
            Output.check(folder)
    Output.check(tmp_path / "new" / "run")
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_of_the_users_called_unfinished_keeps_what_is_in_it(tmp_path, few, tiny):
    (tmp_path / "unfinished" / "plots").mkdir(parents=True)
    mine = tmp_path / "unfinished" / "plots" / "mine.png"
    mine.write_text("precious")
    config = TrainConfig(epochs=1, batch_size=64, optimizer="sgd")
    train_into(Output.prepare(tmp_path), tiny, few, config)
    assert mine.read_text() == "precious"
    assert [path.name for path in (tmp_path / "unfinished").iterdir()] == ["plots"]
