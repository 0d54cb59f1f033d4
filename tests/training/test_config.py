from dataclasses import replace

import pytest

from pytorch_vision.data import Augmentation
from pytorch_vision.training import RECIPES, TrainConfig


def test_the_original_recipe_is_that_of_the_original_notebook():
    recipe = TrainConfig.original(epochs=2)
    assert recipe.augmentation == Augmentation(4, "none", 16, 0.5)
    assert (recipe.optimizer, recipe.learning_rate, recipe.nesterov) == ("sgd", 0.05, False)
    assert (recipe.batch_size, recipe.label_smoothing, recipe.weight_decay) == (128, 0, 0)


def test_the_last_epoch_never_shows_smaller_images():
    shares = [(1, 0.9), (2, 0.75), (3, 0.75), (7, 0.75), (8, 0.75), (20, 0.0)]
    small = [
        TrainConfig(epochs=epochs, progressive_resizing=share).small_epochs
        for epochs, share in shares
    ]
    assert small == [0, 1, 2, 5, 6, 0]
    config = TrainConfig(epochs=3, progressive_resizing=0.75)
    assert [config.scale_in(epoch) for epoch in range(3)] == [0.75, 0.75, 1.0]


def test_epochs_of_smaller_images_augment_less():
    config = TrainConfig(epochs=4, progressive_resizing=0.5)
    assert [config.augmentation_in(epoch).padding for epoch in range(4)] == [3, 3, 4, 4]
    assert [config.augmentation_in(epoch).cutout for epoch in range(4)] == [0, 0, 16, 16]
    assert config.augmentation_in(0).flip == config.augmentation.flip
    assert TrainConfig().augmentation_in(0) == Augmentation()


def test_few_images_have_small_batches():
    sizes = [TrainConfig().batch_size_for(images) for images in (10, 5000, 5001, 50_000)]
    assert sizes == [32, 32, 512, 512]
    assert TrainConfig(batch_size=100).batch_size_for(10) == 100


def test_recipes_take_changes_by_name_and_check_them():
    for recipe in RECIPES.values():
        assert recipe(epochs=2, seed=7) == replace(recipe(), epochs=2, seed=7)
        with pytest.raises(ValueError, match="epochs is -1"):
            recipe(epochs=-1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("muon", 0.005, 0.0075, "near")),
        ({"learning_rate": 0.02}, ("muon", 0.02, 0.0075, "near")),
        ({"muon_learning_rate": 0.2}, ("muon", 0.005, 0.2, "near")),
        ({"optimizer": "sgd"}, ("sgd", 0.2, None, "near")),
        ({"learning_rate": 0.02, "transfer": "no"}, ("muon", 0.02, 0.0075, "no")),
    ],
)
def test_a_chosen_rate_or_optimizer_is_what_finetune_trains_with(changes, expected):
    config = TrainConfig.finetune(**changes)
    rates = (config.chosen("learning_rate"), config.muon_learning_rate)
    assert (config.optimizer, *rates, config.transfer) == expected


def test_another_optimizer_has_its_own_rates_in_every_recipe():
    for recipe in RECIPES.values():
        config = recipe(optimizer="adamw")
        assert (config.chosen("learning_rate"), config.chosen("weight_decay")) == (1e-3, 0.01)


def test_sgds_default_rate_is_lower_beside_muon():
    assert TrainConfig().chosen("learning_rate") == 0.05
    assert TrainConfig(optimizer="sgd").chosen("learning_rate") == 0.2
    assert TrainConfig(learning_rate=0.3).chosen("learning_rate") == 0.3
