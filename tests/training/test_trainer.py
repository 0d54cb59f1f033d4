import warnings

import torch
from hooks import use_float16
from small import equal, state_of
from torch.utils._python_dispatch import TorchDispatchMode

from pytorch_vision.runtime import Processes
from pytorch_vision.runtime.devices import make_fabric
from pytorch_vision.training import TrainConfig, fit
from pytorch_vision.training.trainer import Trainer


def test_a_step_does_not_wait_for_the_device(few, tiny):
    """Reading a number does wait; the bar does so twice a second, a step never."""

    class CountsReadings(TorchDispatchMode):
        readings = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.readings += func is torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    run = Trainer(Processes(make_fabric()), tiny, few, TrainConfig(batch_size=16))
    batches = list(run.loader.epoch(0))
    with CountsReadings() as counter:
        assert torch.ones(()).item() == 1
        assert counter.readings == 1
        for images, labels in batches:
            run.step(images, labels)
    assert counter.readings == 1


def test_a_gradient_scaler_that_skips_steps_trains_without_a_warning(few, tiny, monkeypatch):
    scaler = use_float16(monkeypatch, 2.0**40)
    before = state_of(tiny.network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = fit(tiny, few, TrainConfig(epochs=10, batch_size=16))
    assert scaler.get_scale() < 2.0**40  # it did skip
    assert not equal(before, state_of(tiny.network))
    assert history.records[-1].train_loss < history.records[0].train_loss
