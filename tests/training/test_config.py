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
    ("recipe", "changes", "rate", "weight_decay"),
    [
        *((recipe, {"optimizer": "adamw"}, 1e-3, 0.01) for recipe in RECIPES.values()),
        (TrainConfig, {}, 0.05, 5e-4),  # beside Muon
        (TrainConfig, {"optimizer": "sgd"}, 0.2, 5e-4),
        (TrainConfig, {"learning_rate": 0.3, "weight_decay": 0.0}, 0.3, 0.0),
    ],
)
def test_an_optimizer_has_rates_of_its_own(recipe, changes, rate, weight_decay):
    config = recipe(**changes)
    assert (config.chosen("learning_rate"), config.chosen("weight_decay")) == (rate, weight_decay)


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
