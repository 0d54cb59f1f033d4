import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import tiny_network
from torch import nn

from pytorch_vision.training import TrainConfig
from pytorch_vision.training.optimizers import make_optimizer

MUON = TrainConfig(optimizer="muon", muon_learning_rate=0.1, learning_rate=0.2, weight_decay=0.1)
SGD = replace(MUON, optimizer="sgd", muon_learning_rate=None)
ADAMW = TrainConfig(optimizer="adamw")


@pytest.fixture
def tiny() -> nn.Module:
    """The tiny classifier's network, by itself."""
    return tiny_network()


def rates(made: tuple, steps: int) -> list[list[float]]:
    """Return each schedule's rate at every step, in units of nothing trained."""
    optimizer, schedulers = made
    seen = []
    for _ in range(steps):
        seen.append([scheduler.get_last_lr()[0] for scheduler in schedulers])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return seen


@pytest.mark.parametrize(
    ("config", "peaks", "at"),
    [
        (MUON, [0.2, 0.1], 9),
        (replace(MUON, warm_up=0.3), [0.2, 0.1], 29),
        (replace(MUON, warm_up=0), [0.2, 0.1], 0),
        (ADAMW, [1e-3], 9),
        (SGD, [0.2], 29),  # OneCycleLR
    ],
)
def test_rates_rise_to_their_peaks_and_fall_to_nearly_zero(tiny, config, peaks, at):
    steps = rates(make_optimizer(tiny, config, 100), 100)
    for seen, peak in zip(np.transpose(steps).tolist(), peaks, strict=True):
        assert max(seen) == pytest.approx(peak)
        assert seen.index(max(seen)) == at
        assert all(one > 0 for one in seen)
        assert seen[-1] <= peak / 70
        if config.optimizer != "sgd":  # linearly
            slopes = np.diff(seen)
            assert slopes[:at] == pytest.approx(peak / (at + 1))
            assert slopes[at:] == pytest.approx(slopes[-1])


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("config", [MUON, SGD, ADAMW])
def test_schedules_of_few_steps(tiny, config, steps):
    assert all(rate[0] >= 0 for rate in rates(make_optimizer(tiny, config, steps), steps))


@pytest.mark.parametrize(
    ("config", "kind", "weight_decay"),
    [(SGD, torch.optim.SGD, 0.1), (ADAMW, torch.optim.AdamW, 0.01)],
)
def test_only_weights_of_convolutions_and_linear_layers_decay(tiny, config, kind, weight_decay):
    (optimizer,) = make_optimizer(tiny, config, 10)[0].optimizers
    assert type(optimizer) is kind
    decaying, others = optimizer.param_groups
    assert [id(p) for p in decaying["params"]] == [id(tiny[n].weight) for n in (0, 3, 7)]
    assert (decaying["weight_decay"], others["weight_decay"]) == (weight_decay, 0)
    everything = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(everything) == sorted(map(id, tiny.parameters()))


def gradients(model: nn.Module, scale: float = 1.0) -> None:
    torch.manual_seed(1)
    loss = F.cross_entropy(model(torch.randn(4, 3, 32, 32)), torch.arange(4))
    (scale * loss).backward()


def step(model: nn.Module) -> None:
    optimizer, _ = make_optimizer(model, MUON, 10)
    gradients(model)
    optimizer.step()
    optimizer.zero_grad()


def test_muon_takes_any_memory_format(tiny):
    other = copy.deepcopy(tiny).to(memory_format=torch.channels_last)
    step(tiny)
    step(other)
    for a, b in zip(tiny.parameters(), other.parameters(), strict=True):
        # Newton-Schulz runs in bfloat16, whose sums depend on their order a little
        assert torch.allclose(a, b, atol=2e-3)
    assert other[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("infinite", [0, 7])  # a filter bank of Muon's, or SGD's linear layer
def test_an_infinite_gradient_anywhere_stops_the_whole_step(tiny, infinite):
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1000)
    optimizer, _ = make_optimizer(tiny, MUON, 10)
    before = copy.deepcopy(tiny)
    gradients(tiny, scale=1024.0)
    tiny[infinite].weight.grad.view(-1)[0] = float("inf")
    scaler.scale(torch.ones(()))  # makes its state
    scaler.step(optimizer)
    scaler.update()
    assert all(map(torch.equal, before.parameters(), tiny.parameters()))
    assert not optimizer.optimizers[1].state  # nothing has entered Muon's momentum
    assert scaler.get_scale() == 512.0  # halved once


def test_a_gradient_scaler_makes_the_same_step(tiny):
    other = copy.deepcopy(tiny)
    step(tiny)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer, _ = make_optimizer(other, MUON, 10)
    gradients(other, scale=1024.0)
    scaler.scale(torch.ones(()))
    scaler.step(optimizer)
    for a, b in zip(tiny.parameters(), other.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-3)
