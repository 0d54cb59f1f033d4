from dataclasses import replace

import pytest
import torch
from small import EXACT, UNVARIED, state_of, tiny_classifier, tiny_network
from torch import nn

from pytorch_vision.data import Normalization, eval_batches
from pytorch_vision.models.adapter import Adapter, Call
from pytorch_vision.training import TrainConfig, fit
from pytorch_vision.training.batchnorm import (
    compute_statistics,
    image_count,
    move_statistics,
    train_mode,
)

CONFIG = TrainConfig(epochs=2, batch_size=20, augmentation=UNVARIED)


def test_statistics_are_means_over_the_batches_and_all_else_is_unchanged():
    network = tiny_network().train()
    batches = [torch.randn(6, 3, 8, 8) + number for number in range(3)]
    with torch.no_grad():
        maps = [network[0](images) for images in batches]
    before, random_state = network[0].weight.clone(), torch.get_rng_state()
    compute_statistics(Adapter(network, Call()), batches, torch.no_grad)
    means = torch.stack([one.mean((0, 2, 3)) for one in maps]).mean(0)
    variances = torch.stack([one.var((0, 2, 3)) for one in maps]).mean(0)
    assert torch.allclose(network[1].running_mean, means, atol=1e-6)
    assert torch.allclose(network[1].running_var, variances, rtol=1e-5)
    assert (network[1].momentum, int(network[1].num_batches_tracked)) == (0.1, 0)
    assert torch.equal(network[0].weight, before)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("times", [1, 3])
def test_statistics_move_by_a_share_but_variances_never_shrink(times):
    network = tiny_network().eval()
    images = torch.randn(6, 3, 8, 8)
    with torch.no_grad():
        maps = network[0](images)
        variances = maps.var((0, 2, 3))
        network[1].running_var.copy_(variances * torch.tensor([0.5, 2.0]).repeat(4))
        before = state_of(network)
        move_statistics(Adapter(network, Call()), times * [images], times, 0.25, torch.no_grad)
    assert torch.allclose(network[1].running_mean, 0.25 * maps.mean((0, 2, 3)), atol=1e-6)
    wanted = variances * torch.tensor([0.625, 2.0]).repeat(4)
    assert torch.allclose(network[1].running_var, wanted, rtol=1e-5)
    after = state_of(network)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"1.running_mean", "1.running_var"}


@pytest.mark.parametrize("momentum", [0.1, 0.001, None])
@pytest.mark.parametrize("average_weights", [True, False])
def test_what_is_tested_has_statistics_of_its_own_weights(few, momentum, average_weights):
    """After five steps as after many, whatever the momentum."""
    classifier = tiny_classifier(few)
    classifier.network[1].momentum = momentum
    config = replace(CONFIG, average_weights=average_weights)
    tested = []
    fit(classifier, few, config, EXACT, after_epoch=lambda one: tested.append(one.copy()))
    images = torch.cat(list(eval_batches(few.train_images, classifier.normalization)))
    assert image_count(len(images)) == 100
    for one in (tested[0], classifier):
        with torch.no_grad():
            maps = one.network[0](images)
        deviations = maps.std((0, 2, 3))
        off = (one.network[1].running_mean - maps.mean((0, 2, 3))).abs()
        assert (off < 0.05 * deviations).all()
        assert torch.allclose(one.network[1].running_var.sqrt(), deviations, rtol=0.1)


def test_statistics_are_of_images_as_training_varies_them(few):
    """White images show it: holes are grey."""
    white = replace(few, train_images=few.train_images * 0 + 255)
    classifier = tiny_classifier(white, normalization=Normalization((0.5,) * 3, (0.2,) * 3))
    seen = []
    classifier.network[0].register_forward_pre_hook(
        lambda layer, inputs: seen.append(inputs[0]) if not layer.training else None
    )
    augmentation = replace(UNVARIED, cutout=16, cutout_probability=1.0)
    fit(classifier, white, replace(CONFIG, epochs=1, augmentation=augmentation), EXACT)
    varied = [images for images in seen if len(images) == 20]
    assert len(varied) == 5
    assert all((images.flatten(1).std(1) > 0).all() for images in varied)


@pytest.mark.parametrize("average_weights", [True, False])
def test_frozen_layers_keep_their_statistics_and_normalise_by_them(few, average_weights):
    classifier = tiny_classifier(few)
    layer = classifier.network[1].requires_grad_(False)
    with torch.no_grad():
        layer.running_mean.fill_(0.25)
    modes, number = [], id(layer)

    def note(module: nn.Module, _: object) -> None:
        if id(module) == number:  # not a copy, with which a step is tried first
            modes.append(module.training)

    layer.register_forward_pre_hook(note)
    fit(classifier, few, replace(CONFIG, average_weights=average_weights), EXACT)
    assert modes
    assert not any(modes)
    assert (classifier.network[1].running_mean == 0.25).all()
    assert int(classifier.network[1].num_batches_tracked) == 0


def test_a_layer_without_parameters_or_statistics_is_no_frozen_one():
    network = nn.Sequential(
        nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3, track_running_stats=False)
    )
    train_mode(network.eval())
    assert network[0].training
    assert network[1].training
