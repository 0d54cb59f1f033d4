import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pytorch_vision.training import TrainConfig
from pytorch_vision.training.optimizers import make_optimizers, move_average

MUON = TrainConfig(optimizer="muon", muon_rate=0.1, learning_rate=0.2, weight_decay=0.1)
SGD = replace(MUON, optimizer="sgd")


def rates(pairs: list, steps: int) -> list[list[float]]:
    """Return each optimizer's rate at every step, in units of nothing trained."""
    seen = []
    for _ in range(steps):
        seen.append([scheduler.get_last_lr()[0] for _, scheduler in pairs])
        for optimizer, scheduler in pairs:
            optimizer.step()
            scheduler.step()
    return seen


def test_linear_schedule_rises_over_a_tenth_and_falls_to_nearly_zero(tiny):
    seen = rates(make_optimizers(tiny, MUON, 100), 100)
    sgd, muon = zip(*seen, strict=True)
    assert sgd == pytest.approx([2 * rate for rate in muon])
    assert max(sgd) == sgd[9] == 0.2
    differences = torch.tensor(sgd).diff()
    assert torch.allclose(differences[:9], torch.tensor(0.2 / 10))
    assert torch.allclose(differences[9:], torch.tensor(-0.2 / 91))
    assert sgd[-1] == pytest.approx(0.2 / 91)


def test_one_cycle_reaches_its_peak_when_stepped_once_a_batch(tiny):
    seen = [rate for (rate,) in rates(make_optimizers(tiny, SGD, 100), 100)]
    assert max(seen) == pytest.approx(0.2)
    assert 25 <= seen.index(max(seen)) <= 35
    assert seen[0] < 0.01
    assert seen[-1] < 0.001


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_schedules_of_few_steps(tiny, steps):
    for pairs in (
        make_optimizers(tiny, MUON, steps),
        make_optimizers(tiny, SGD, steps),
    ):
        assert all(rate[0] >= 0 for rate in rates(pairs, steps))


def test_only_weights_of_convolutions_and_linear_layers_decay(tiny):
    [(sgd, _)] = make_optimizers(tiny, SGD, 10)
    decaying = {id(p) for g in sgd.param_groups if g["weight_decay"] for p in g["params"]}
    assert decaying == {id(tiny[0].weight), id(tiny[3].weight), id(tiny[7].weight)}
    everything = [id(p) for group in sgd.param_groups for p in group["params"]]
    assert sorted(everything) == sorted(map(id, tiny.parameters()))


def step(model: nn.Module) -> None:
    pairs = make_optimizers(model, MUON, 10)
    torch.manual_seed(1)
    F.cross_entropy(model(torch.randn(4, 3, 32, 32)), torch.arange(4)).backward()
    for optimizer, _ in pairs:
        optimizer.step()
        optimizer.zero_grad()


def test_muon_trains_the_filters_and_sgd_the_rest(tiny):
    before = copy.deepcopy(tiny)
    step(tiny)
    for old, new in zip(before.parameters(), tiny.parameters(), strict=True):
        assert not torch.equal(old, new)
        assert new.grad is None


def test_muon_steps_by_an_orthogonal_matrix_of_the_rates_size(tiny):
    weight = tiny[3].weight
    scaled = weight.detach().clone() * len(weight) ** 0.5 / weight.detach().norm()
    step(tiny)
    moved = (weight.detach() - scaled).flatten(1)
    # the rate at the first of ten steps is its peak, 0.1; three Newton-Schulz steps bring the
    # singular values near one
    singular = torch.linalg.svdvals(moved) / 0.1
    assert singular.max() < 1.4
    assert singular.median() > 0.6


def test_muon_does_not_mind_the_memory_order(tiny):
    other = copy.deepcopy(tiny).to(memory_format=torch.channels_last)
    step(tiny)
    step(other)
    for a, b in zip(tiny.parameters(), other.parameters(), strict=True):
        # Newton-Schulz runs in bfloat16, whose sums depend on their order a little
        assert torch.allclose(a, b, atol=2e-3)
    assert other[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_an_average_moves_parameters_and_running_statistics(tiny):
    averaged = copy.deepcopy(tiny)
    before = {name: tensor.clone() for name, tensor in averaged.state_dict().items()}
    tiny(torch.randn(8, 3, 32, 32))  # moves BatchNorm's running statistics
    with torch.no_grad():
        tiny[7].weight += 1
    move_average(averaged, tiny, 0.25)
    for name, tensor in averaged.state_dict().items():
        if tensor.is_floating_point():
            expected = 0.75 * before[name] + 0.25 * tiny.state_dict()[name]
            assert torch.allclose(tensor, expected, atol=1e-6)
