import pytest
import torch
from small import tiny_network

from pytorch_vision.training.average import Average


@pytest.mark.parametrize(
    ("step", "epoch_steps", "share"),
    [(27, 100, 0.25), (100_000, 10, 0.1)],  # it reaches over one epoch at most
)
def test_an_average_moves_parameters_and_copies_frozen_ones_and_buffers(step, epoch_steps, share):
    """Running statistics are left alone: those of an average are computed for it."""
    network = tiny_network()
    network[3].requires_grad_(False)
    network.register_buffer("mask", torch.zeros(3))
    average = Average(network)
    before = {name: one.clone() for name, one in average.network.state_dict().items()}
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(1)
    average.update(step, epoch_steps)
    for name, tensor in average.network.state_dict().items():
        moved = 0.0 if name.startswith("1.running") or "num_batches" in name else share
        moved = 1.0 if name.startswith("3.") or name == "mask" else moved
        assert torch.allclose(tensor.float(), before[name] + moved), name


def test_an_average_over_the_whole_training_weighs_all_steps_alike():
    network = tiny_network()
    average = Average(network, whole=True)
    weights = [network[7].weight.clone()]
    for step in range(1, 4):
        with torch.no_grad():
            network[7].weight += step
        average.update(step, epoch_steps=1)
        weights.append(network[7].weight.clone())
    assert torch.allclose(average.network[7].weight, torch.stack(weights).mean(0))


def test_a_buffer_that_grows_is_refused():
    network = tiny_network()
    network.register_buffer("seen", torch.zeros(0))
    average = Average(network)
    network.seen = torch.zeros(4)
    with pytest.raises(ValueError, match=r"changes from \(0,\) to \(4,\) .* average_weights=False"):
        average.update(step=1, epoch_steps=10)
