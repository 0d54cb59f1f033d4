"""Several processes on one CPU: the transport is gloo, all else is as with several GPUs."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import several_processes as job
import torch
from small import few_images, tiny_network

from pytorch_vision.training import (
    Processes,
    TrainConfig,
    fit,
    make_fabric,
    start_processes,
)
from pytorch_vision.training import devices as devices_module
from pytorch_vision.training import launch as launch_module
from pytorch_vision.training.checkpoint import load
from pytorch_vision.training.recipe import run_recipe

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]


def start(*command: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        list(map(str, command)), env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def output(out) -> str:
    """What two processes print, that Fabric starts by running the same script again."""
    done = start(sys.executable, job.__file__, "everything", out, "2")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def both(out, output) -> list[dict]:
    """What each of the two saw."""
    return [json.loads((out / f"everything{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone() -> list:
    """The records of the same run in one process."""
    return fit(tiny_network(), few_images(), job.CONFIG).records


def test_all_processes_have_the_same_weights_after_every_epoch(both):
    assert both[0]["count"] == 2
    assert both[0]["digests"] == both[1]["digests"]
    assert len({tuple(pair) for pair in both[0]["digests"]}) == 3
    assert both[0]["history"] != []


def test_all_processes_know_what_every_image_lost(both):
    assert both[0]["losses"] == both[1]["losses"]
    first, second = both[0]["losses"][:2]
    assert len(first) == 100
    assert min(first) > 0
    assert sum(before == after for before, after in zip(first, second, strict=True)) == 10


def test_the_gradient_is_that_of_one_process_however_a_batch_is_shared(both):
    expected = torch.tensor(job.gradients(Processes(make_fabric(job.CONFIG))))
    for seen in both:
        off = (torch.tensor(seen["gradients"]) - expected).norm(dim=1)
        assert (off < 1e-4 * expected.norm(dim=1)).all()


def test_the_loss_of_an_epoch_is_that_of_one_process(both, alone):
    """But for BatchNorm, which takes its statistics from a process's part of the batch."""
    first = both[0]["history"][0]
    assert first["train_loss"] == pytest.approx(alone[0].train_loss, rel=0.02)
    assert both[0]["history"] == both[1]["history"]


def test_a_loss_that_is_not_finite_in_one_stops_both(both):
    for seen in both:
        assert "not finite at epoch 2, batch 2" in seen["not finite"]


def test_an_interrupt_of_one_stops_both_at_the_same_batch_and_one_alone_goes_on(
    out, both, alone, capsys
):
    assert [seen["stopped after"] for seen in both] == [1, 1]
    progress = load(out / "stopped")["run"]["progress"]
    assert (progress["epoch"], progress["batch"]) == (1, job.STOPPED_AT - 7)
    history = fit(tiny_network(), few_images(), job.CONFIG, out / "stopped")
    shown = capsys.readouterr().out
    assert "Going on from the checkpoint at epoch 2, batch 3" in shown
    assert "2 processes: the images will be the same, but the weights will differ" in shown
    assert history.records[-1].train_loss == pytest.approx(alone[-1].train_loss, rel=0.05)


def test_one_process_goes_first_and_its_error_is_told_to_all(both):
    assert [seen["order"] for seen in both] == ["0", "01"]
    assert [seen["of the first"] for seen in both] == [0, 0]
    for seen in both:
        assert seen["one_a_machine_first"] == seen["first_does"] == "there is no data"


def test_only_the_first_prints(output):
    assert output.count("Training on") == 3
    assert len(re.findall(r"^Test set", output, re.MULTILINE)) == 3 + 1 + 1


def test_four_processes_go_on_where_one_stopped(out, alone, monkeypatch):
    with monkeypatch.context() as patch:
        step, calls = job.Run.step, []

        def counted(run, images, labels):
            calls.append(None)
            if len(calls) == job.STOPPED_AT:
                os.kill(os.getpid(), signal.SIGTERM)
            step(run, images, labels)

        patch.setattr(job.Run, "step", counted)
        terminated = []
        before = signal.signal(signal.SIGTERM, lambda *_: terminated.append(True))
        try:
            stopped = fit(tiny_network(), few_images(), job.CONFIG, out / "alone")
        finally:
            signal.signal(signal.SIGTERM, before)
        assert terminated  # what was asked for happens once the checkpoint is written
        assert len(stopped.records) == 1
    done = start(*TORCHRUN, "4", job.__file__, "resumed", out, "1")
    assert done.returncode == 0, done.stderr
    assert "Going on from the checkpoint at epoch 2, batch 3" in done.stdout
    seen = [json.loads((out / f"resumed{rank}.json").read_text()) for rank in range(4)]
    assert all(one["history"] == seen[0]["history"] and one["count"] == 4 for one in seen)
    last = seen[0]["history"][-1]
    assert last["train_loss"] == pytest.approx(alone[-1].train_loss, rel=0.05)


def test_a_killed_process_is_named_and_the_job_can_be_completed(out, capsys):
    started = time.monotonic()
    done = start(sys.executable, job.__file__, "killed", out, "2")
    assert time.monotonic() - started < 60
    assert done.returncode != 0
    assert re.search(r"rank 1 of 2|\[rank: 1\] Child process .* terminated", done.stderr)
    assert f"it goes on from the checkpoint in {out / 'killed'}" in done.stderr
    history = fit(tiny_network(), few_images(), job.CONFIG, out / "killed")
    assert len(history.records) == 3
    assert "Going on from the checkpoint at epoch 2, batch 2" in capsys.readouterr().out


def test_more_devices_than_there_are_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    numbers = launch_module._devices_and_nodes
    assert numbers("auto", "cuda") == (2, 1)
    assert numbers(1, "cuda") == (1, 1)
    assert numbers("auto", "cpu") == (1, 1)
    with pytest.raises(
        ValueError, match=r"devices is 3, but the number of 'cuda' devices here is 2"
    ):
        numbers(3, "cuda")
    with pytest.raises(ValueError, match=r"devices is 0, expected 1 or more, or 'auto'"):
        TrainConfig(devices=0)


def test_torchrun_says_how_many_processes_there_are(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_torchelastic_launched", lambda: True)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("WORLD_SIZE", "8")
    numbers = launch_module._devices_and_nodes
    assert numbers(1, "cpu") == numbers("auto", "cpu") == numbers(4, "cpu") == (4, 2)
    with pytest.raises(ValueError, match=r"devices is 3, but 4 process\(es\) were started"):
        numbers(3, "cpu")


def test_the_recipe_of_a_run_does_not_know_how_many_processes_it_had(few):
    one, two = (run_recipe(replace(job.CONFIG, devices=n), few, tiny_network()) for n in (1, 2))
    assert one == two


@pytest.fixture(scope="module")
def notebook(out) -> dict:
    """What a notebook saw: a process of its own, as one that has trained may not be forked."""
    done = start(sys.executable, job.__file__, "notebook", out, "2")
    assert done.returncode == 0, done.stderr
    return json.loads((out / "notebook.json").read_text())


def test_in_a_notebook_forks_train_and_the_model_there_has_the_weights(notebook, both):
    assert notebook["history"] == both[0]["history"]
    assert notebook["digest"] == both[0]["digests"][-1][1]  # the averaged weights


def test_in_a_notebook_errors_of_forks_are_those_of_a_run(notebook):
    assert notebook["Breaks"].startswith("FloatingPointError: ")
    assert "not finite at epoch 1, batch 0" in notebook["Breaks"]
    assert notebook["Dies"].startswith("ProcessLostError: ")
    assert "process 1 terminated with signal SIGKILL" in notebook["Dies"]


LOOKED = multiprocessing.get_context("fork").SimpleQueue()


def looks(config: TrainConfig) -> str:
    if config.precision == "auto":
        LOOKED.put(os.getpid())
    return "32-true"


def test_in_a_notebook_only_forks_look_at_the_gpu(monkeypatch):
    """A process that has looked at a GPU cannot be forked any more."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    config = replace(job.CONFIG, devices=2, precision="auto")
    for module in (launch_module, devices_module):
        monkeypatch.setattr(module, "precision_of", looks)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    start_processes(config)
    assert LOOKED.get() != os.getpid()
    assert LOOKED.empty()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match="restart the kernel"):
        start_processes(config)
