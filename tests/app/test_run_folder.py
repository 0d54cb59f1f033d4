import copy
import errno
import importlib
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hooks import at_step
from small import contents, equal, state_of, tiny_network

from pytorch_vision.analysis import plots
from pytorch_vision.app.compare import FinishedRun, compare_runs
from pytorch_vision.app.run_folder import Output, RunFolder, describe_run, train_into
from pytorch_vision.data import Augmentation, ImageData
from pytorch_vision.models import Classifier, History
from pytorch_vision.runtime import Machine
from pytorch_vision.runtime.files import check_writable
from pytorch_vision.training import TrainConfig
from pytorch_vision.training.custom import Custom

CONFIG = TrainConfig(epochs=2, batch_size=16)
ON_CPU = Machine(accelerator="cpu")
FINISHED = ["plots", "run.json", "weights.safetensors"]


def anew(data: ImageData) -> Classifier:
    return Classifier(tiny_network(), data)


def epochs_in(run: RunFolder) -> int:
    records = Classifier.load(run.weights, tiny_network()).history.records
    assert len(History.from_csv(run.history).records) == len(records)
    return len(records)


def test_prepare_makes_the_folder_and_check_makes_nothing(tmp_path):
    check_writable(tmp_path / "new" / "run")
    assert os.listdir(tmp_path) == []
    run = RunFolder.prepare(tmp_path / "new" / "run")
    for path in (run.weights, run.history, run.page, run.plots, run.manifest):
        assert path.is_relative_to(run.folder)
    assert (os.listdir(run.folder), os.listdir(run.plots)) == (["plots"], [])


def test_a_training_without_test_images_says_so_everywhere(tmp_path, few, tiny, capsys):
    data = replace(few, test_images=few.test_images[:0], test_labels=few.test_labels[:0])
    run = train_into(RunFolder.prepare(tmp_path / "run"), tiny, data, CONFIG)
    assert capsys.readouterr().out.count("No test: there are no test images") == CONFIG.epochs
    figures = (run.read() or {})["figures"]
    assert (figures["epochs"], figures["best_epoch"], figures["test_loss"]) == (2, None, None)
    saved = Classifier.load(run.weights, tiny_network()).history
    assert np.isnan([*saved.column("test_loss"), *saved.column("test_accuracy")]).all()
    found = FinishedRun.read(run.folder)
    assert "no test" in compare_runs([found, found])
    for figure in (plots.training_curves(saved), plots.compare({"run": found.history})):
        figure.savefig(tmp_path / "figure.png")
    (legend,) = plots.training_curves(saved).axes[0].get_legend().get_texts()[1:]
    assert legend.get_text() == "no test: there are no test images"


@pytest.mark.parametrize("name", ["run", "run/deeper", "run/" + "x" * 300, "weights", "history"])
def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path, name):
    (tmp_path / "run").write_text("in the way")
    (tmp_path / "weights" / "weights.safetensors").mkdir(parents=True)
    (tmp_path / "history" / "plots" / "history.csv").mkdir(parents=True)
    with pytest.raises(OSError, match=name.partition("/")[0]):
        RunFolder.prepare(tmp_path / name)
    if name.startswith("run"):
        with pytest.raises(NotADirectoryError, match="run"):
            check_writable(tmp_path / name)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only to root"
)
def test_a_read_only_folder_is_refused_at_once(tmp_path):
    tmp_path.chmod(0o500)
    for look in (RunFolder.prepare, check_writable):
        with pytest.raises(PermissionError):
            look(tmp_path)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
@pytest.mark.parametrize("name", ["/proc/mine", "/proc/self/mine"])
def test_a_disk_that_refuses_root_is_noticed_by_trying(name):
    """``os.access`` lets root write anywhere."""
    with pytest.raises(OSError, match=f"cannot write to {name}: no file can be written in /proc"):
        check_writable(name)


def test_training_writes_weights_history_and_manifest(tmp_path, few, tiny):
    run = train_into(RunFolder.prepare(tmp_path), tiny, few, CONFIG, notes={"command": "make it"})
    assert run == RunFolder(tmp_path)
    assert sorted(os.listdir(tmp_path)) == FINISHED
    assert epochs_in(run) == 2
    assert equal(Classifier.load(run.weights, tiny_network()).network, tiny.network)

    found = run.read()
    assert (found["command"], found["status"]) == ("make it", "finished")
    assert datetime.fromisoformat(found["started"]) <= datetime.fromisoformat(found["ended"])
    settings = run.settings
    assert (settings["epochs"], settings["batch_size"], settings["cutout"]) == (2, 16, 16)
    assert settings["accelerator"] == "auto"
    data, figures = found["data"], found["figures"]
    assert (data["training_images"], data["test_images"], len(data["classes"])) == (100, 50, 10)
    assert data["classes"][3] == {"name": "cat", "training": 10, "test": 3}
    assert few.fingerprint.startswith(data["fingerprint"])
    assert figures["test_accuracy"] == tiny.history.records[-1].test_accuracy
    assert found["versions"]["torch"] == torch.__version__
    assert "threads" in found["machine"]["device"]


@pytest.mark.parametrize("same", [True, False])
def test_an_interrupted_run_lies_apart_and_goes_on(tmp_path, few, tiny, same):
    """With the same classifier or a new one; the second time, there is nothing left to do."""
    run, kept = RunFolder.prepare(tmp_path / "run"), tmp_path / "kept"
    at_step(tiny.network, 10, lambda _: os.kill(os.getpid(), signal.SIGINT))
    apart = train_into(run, tiny, few, CONFIG, None, kept)
    assert apart == run.unfinished
    assert os.listdir(run.plots) == []
    assert epochs_in(apart) == 1
    before = apart.read()
    assert before["status"] == "interrupted"

    classifier, started = tiny if same else anew(few), []
    for _ in range(2):
        assert train_into(run, classifier, few, CONFIG, None, kept) == run
        assert run.read()["status"] == "finished"
        started.append(run.read()["started"])
    assert started[0] == before["started"]
    assert epochs_in(run) == 2
    assert sorted(os.listdir(run.folder)) == FINISHED


@pytest.mark.parametrize("further", [False, True])
def test_a_finished_run_stays_when_the_next_is_interrupted(tmp_path, few, tiny, further):
    """The same again; or its classifier trained further, which is another run.

    That is unfinished, though its history has as many epochs as it should have.
    """
    first = tiny if further else anew(few)
    run = train_into(RunFolder.prepare(tmp_path / "mine"), first, few, CONFIG)
    finished = contents(tmp_path)
    at_step(tiny.network, 10, lambda _: os.kill(os.getpid(), signal.SIGINT))
    written = train_into(run, tiny, few, CONFIG)
    assert written == (RunFolder(tmp_path / "mine-2") if further else run).unfinished
    assert written.read()["status"] == "interrupted"
    assert contents(tmp_path).items() >= finished.items()


def test_weights_that_the_folder_cannot_take_are_saved_elsewhere(tmp_path, few, tiny, monkeypatch):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "weights.safetensors")
    monkeypatch.setattr(RunFolder, "write", Mock(side_effect=full))
    with pytest.raises(OSError, match="no space left on device; the weights are in ") as caught:
        train_into(RunFolder.prepare(tmp_path), tiny, few, CONFIG)
    saved = str(caught.value).split("the weights are in ")[1]
    assert equal(Classifier.load(saved, tiny_network()).network, tiny.network)
    shutil.rmtree(Path(saved).parent)


def test_the_history_is_kept_while_a_run_goes_on(tmp_path, few, tiny):
    run, seen = RunFolder.prepare(tmp_path), []

    def look(_: Classifier) -> None:
        history = History.from_csv(run.unfinished.history)
        seen.append((run.unfinished.read()["status"], len(history.records)))
        assert run.read() is None

    train_into(run, tiny, few, CONFIG, after_epoch=look)
    assert seen == [("running", 1), ("running", 2)]


def test_a_history_that_cannot_be_kept_is_only_a_line(tmp_path, few, tiny, capsys):
    run = RunFolder.prepare(tmp_path)
    run.unfinished.folder.write_text("in the way")
    assert train_into(run, tiny, few, CONFIG) == run
    assert "The history so far could not be written to" in capsys.readouterr().out
    assert epochs_in(run) == 2


def test_without_an_epoch_nothing_is_written(tmp_path, few, tiny, capsys):
    """Pictures of the test go into a folder where they replace no other run's."""
    config, kept = TrainConfig(epochs=0), tmp_path / "kept"
    run = RunFolder.prepare(tmp_path / "new")
    assert train_into(run, tiny, few, config, None, kept) == run
    assert "Test set: " in capsys.readouterr().out
    assert (os.listdir(run.folder), os.listdir(run.plots)) == (["plots"], [])
    run.weights.write_text("of another run")
    assert train_into(run, tiny, few, config).folder == tmp_path / "new-2"


class Margin:
    """A loss as an object with settings."""

    def __init__(self, margin: float) -> None:
        self.margin = margin

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.multi_margin_loss(logits, labels, margin=self.margin)


def network_with(forward: Callable) -> torch.nn.Module:
    """A network with a layer whose code differs, and not its description."""
    network = tiny_network()
    network[2] = type("Layer", (torch.nn.Module,), {"forward": forward})()
    return network


def identity_of(data: ImageData, network: torch.nn.Module | None = None, **given: Any) -> str:
    classifier = Classifier(network or tiny_network(), data)
    classifier.begins_with = given.pop("begins_with", "")
    return describe_run(classifier, data, **{"config": CONFIG, "machine": ON_CPU, **given})[
        "identity"
    ]


OTHERS = {
    "rate": {"config": replace(CONFIG, learning_rate=0.01)},
    "seed": {"config": replace(CONFIG, seed=1)},
    "epochs": {"config": replace(CONFIG, epochs=1)},
    "augmentation": {"config": replace(CONFIG, augmentation=Augmentation(cutout=0))},
    "weights": {"begins_with": "other"},
    "loss": {"custom": Custom(loss=torch.nn.CrossEntropyLoss())},
    "optimizer": {"custom": Custom(optimizer=lambda weights: torch.optim.AdamW(weights, lr=1e-3))},
}


@pytest.mark.parametrize("other", [*OTHERS, "data", "network", "threads"])
def test_each_of_these_changes_makes_another_run(few, monkeypatch, other):
    data = replace(few, train_images=255 - few.train_images) if other == "data" else few
    network = tiny_network(normalization=other != "network")
    expected = identity_of(few)
    if other == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert identity_of(data, network, **OTHERS.get(other, {})) != expected


def test_a_loss_with_other_values_makes_another_run(few):
    """Those of an object, of a module, and of its class weights."""
    losses = [
        *(Margin(1), Margin(2)),
        *(torch.nn.CrossEntropyLoss(label_smoothing=share) for share in (0.0, 0.1)),
        *(torch.nn.CrossEntropyLoss(torch.full((10,), share)) for share in (0.5, 1.0)),
    ]
    each, again = (
        [identity_of(few, custom=Custom(loss=loss)) for loss in some]
        for some in (losses, copy.deepcopy(losses))
    )
    assert len(set(each)) == len(losses)
    assert each == again


def test_changed_code_of_a_layer_makes_another_run(few):
    codes = (lambda _, x: F.relu(x), lambda _, x: F.relu(x), lambda _, x: F.gelu(x))
    one, again, other = (identity_of(few, network_with(code)) for code in codes)
    assert one == again != other


def test_the_machine_does_not_make_another_run(few):
    machines = (ON_CPU, replace(ON_CPU, precision="32-true", devices=2))
    assert len({describe_run(anew(few), few, CONFIG, one)["identity"] for one in machines}) == 1


def test_another_run_does_not_replace_one(tmp_path, few, capsys):
    output, other = RunFolder.prepare(tmp_path / "mine"), replace(CONFIG, seed=1)
    train_into(output, anew(few), few, CONFIG)
    before = contents(output.folder)
    for _ in range(2):  # the second time, it replaces itself
        written = train_into(output, anew(few), few, other)
        assert written.folder == tmp_path / "mine-2"
        assert f"{output.folder} holds another run, which is kept" in capsys.readouterr().out
    assert contents(output.folder) == before
    assert train_into(output, anew(few), few, other, overwrite=True) == output
    assert written.read()["identity"] == output.read()["identity"]


@pytest.mark.parametrize("manifest", [None, "[", '{"id": 5}', "[" * 100_000])
@pytest.mark.parametrize("name", ["mine", "v1.0"])
def test_weights_of_an_unknown_run_stay(tmp_path, few, name, manifest):
    output = RunFolder.prepare(tmp_path / name)
    output.weights.write_text("good ones")
    if manifest is not None:
        output.manifest.write_text(manifest)
    assert output.free_for("any").folder == tmp_path / f"{name}-2"


def test_the_free_folder_of_the_working_folder_is_inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = RunFolder.prepare(".")
    output.weights.write_text("good ones")
    assert output.free_for("any").folder == Path("run")


@pytest.mark.parametrize("average_weights", [True, False])
def test_a_run_that_after_epoch_stops_is_finished(tmp_path, few, tiny, average_weights):
    config = replace(CONFIG, epochs=5, average_weights=average_weights)
    run = RunFolder.prepare(tmp_path)
    tested = []

    def stop(classifier: Classifier) -> bool:
        tested.append(state_of(classifier.network))
        return len(tested) == 2

    assert train_into(run, tiny, few, config, after_epoch=stop) == run
    assert epochs_in(run) == run.read()["figures"]["epochs"] == 2
    assert run.read()["status"] == "stopped"
    for network in (tiny.network, Classifier.load(run.weights, tiny_network()).network):
        assert equal(network, tested[-1])
    assert not run.unfinished.folder.exists()


@pytest.mark.parametrize(("step", "left"), [(10, True), (1, False)])
def test_a_run_that_failed_says_how_or_leaves_nothing(tmp_path, few, tiny, step, left):
    run = RunFolder.prepare(tmp_path)
    at_step(tiny.network, step, lambda images: images.fill_(float("nan")))
    with pytest.raises(FloatingPointError):
        train_into(run, tiny, few, CONFIG)
    if left:
        assert run.unfinished.read()["status"].startswith("failed: the loss is not finite")
    else:
        assert os.listdir(tmp_path) == ["plots"]


def test_a_users_folder_called_unfinished_keeps_its_files(tmp_path, few, tiny):
    mine = tmp_path / "unfinished" / "plots" / "mine.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    train_into(RunFolder.prepare(tmp_path), tiny, few, CONFIG)
    assert mine.read_text() == "precious"
    assert os.listdir(tmp_path / "unfinished") == ["plots"]


def test_moved_names_are_found_in_their_earlier_wing():
    training = importlib.import_module("pytorch_vision.training")
    assert training.train_into is train_into
    assert training.Output is Output is RunFolder
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = training.nothing
