"""What only a CUDA GPU can show. Skipped where there is none; ``make gpu`` wants them all."""

import copy
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch
from small import few_images, tiny_network

from pytorch_vision.analysis import grad_cam, predict
from pytorch_vision.data import Augmentation, DeviceTrainLoader, TrainLoader, load_sample
from pytorch_vision.models import ResNet18, create
from pytorch_vision.training import (
    Evaluation,
    Processes,
    TrainConfig,
    device_settings,
    evaluate,
    fit,
    load_trained,
    make_fabric,
)
from pytorch_vision.training.recording import Recordings
from pytorch_vision.training.run import Run

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
ON_GPU = TrainConfig(epochs=2, batch_size=16, accelerator="cuda")
ON_CPU = replace(ON_GPU, accelerator="cpu")
EXACT = replace(ON_GPU, precision="32-true")


def test_a_gpu_is_what_a_run_takes():
    assert make_fabric(TrainConfig()).device.type == "cuda"


def test_the_inner_loop_does_not_wait_for_the_device():
    """But in float16, whose scaler must know whether a gradient was infinite."""
    run = Run(Processes(make_fabric(EXACT)), tiny_network(), few_images(), EXACT)
    run.model.train()
    with device_settings(run.fabric.device):
        batches = run.loader.epoch(0)
        for _ in range(2):  # the first makes momentum and chooses kernels, the second records them
            run.step(*next(batches))
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(4):
                run.step(*next(batches))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert run.progress.batch == 6


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
@pytest.mark.parametrize("network", [tiny_network, ResNet18, partial(create, "CustomResNet")])
def test_recorded_steps_are_those_of_the_host(precision, network):
    """On images of two sizes, and on short last batches; each step from the same state."""
    config = replace(ON_GPU, epochs=4, precision=precision, small_share=0.5)
    recorded, told = (
        Run(Processes(make_fabric(config)), network(), few_images(), config) for _ in range(2)
    )
    with device_settings(recorded.fabric.device):
        for epoch in range(config.epochs):
            recorded.begin_epoch()
            for batch in recorded.loader.epoch(epoch):
                told.load_state_dict(copy.deepcopy(recorded.state_dict()))
                told.begin_epoch()
                before = weights(recorded)
                recorded.step(*batch)
                with mock.patch.object(Recordings, "__call__", lambda _own, work, *on: work(*on)):
                    told.step(*batch)
                assert recorded.means() == pytest.approx(told.means(), rel=0.01, abs=0.1)
                move = weights(recorded) - before
                off = weights(told) - before - move
                assert off.norm() <= 0.2 * move.norm()  # Muon enlarges what is rounded differently
            recorded.record(Evaluation(loss=0.0, correct=0, count=1), test_seconds=0.0)


def weights(own: Run) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in own.model.parameters()])


def test_its_batches_are_those_of_the_cpu():
    data, augmentation = load_sample(), Augmentation()
    settings = (data, augmentation, 200, 3)
    theirs = DeviceTrainLoader(*settings, device=torch.device("cuda")).epoch(1)
    for (images, labels), (expected, same) in zip(
        theirs, TrainLoader(*settings).epoch(1), strict=True
    ):
        assert images.is_cuda
        assert torch.equal(labels, same)
        assert torch.allclose(images.cpu(), expected, atol=1e-5)


@pytest.mark.parametrize(("first", "then"), [(ON_GPU, ON_CPU), (ON_CPU, ON_GPU)])
def test_a_run_goes_on_on_the_other_device(tmp_path, capsys, first, then):
    def stops(history):
        return len(history.records) == 1

    fit(tiny_network(), few_images(), first, tmp_path, stops)
    history = fit(tiny_network(), few_images(), then, tmp_path)
    assert len(history.records) == 2
    assert "From the checkpoint, run on " in capsys.readouterr().out


def test_it_learns_as_on_the_cpu():
    histories = [
        fit(tiny_network(), few_images(), replace(config, precision="32-true", epochs=3))
        for config in (ON_GPU, ON_CPU)
    ]
    losses = [history.column("train_loss") for history in histories]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_the_committed_weights_answer_as_on_the_cpu():
    trained, data = load_trained("pretrained"), load_sample()
    data = trained.normalized(data)
    here, there = (evaluate(trained.model, data, config) for config in (ON_GPU, ON_CPU))
    assert abs(here.correct - there.correct) <= 2
    predictions = predict(trained.model, data, ON_GPU)
    assert int((predictions.predicted == predictions.labels).sum()) == here.correct


def test_maps_are_those_of_the_cpu():
    trained, data = load_trained("pretrained"), load_sample()
    images, classes = data.test_images[:20], data.test_labels[:20]
    maps = [
        grad_cam(trained.model.to(device), images, classes, trained.mean_and_std)
        for device in ("cuda", "cpu")
    ]
    assert np.abs(maps[0] - maps[1]).max() < 0.01


def test_too_little_memory_is_told_and_given_back():
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.5e9 / total))
    before = torch.cuda.memory_allocated()
    model, data = ResNet18(), load_sample()
    try:
        with pytest.raises(MemoryError, match="batches of 1000 images; try batch_size=500"):
            fit(model, data, replace(EXACT, batch_size=1000))
        model.cpu()
        assert torch.cuda.memory_allocated() - before < 200e6
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
