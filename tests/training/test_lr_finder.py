from dataclasses import replace

import numpy as np
import pytest
import torch
from small import EXACT, tiny_classifier
from torch import nn

from pytorch_vision.models import Classifier
from pytorch_vision.training import TrainConfig, find_learning_rate, fit

CONFIG = TrainConfig(batch_size=16, seed=1, learning_rate=0.1)


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("sgd", "learning_rate"), ("muon", "muon_learning_rate")]
)
def test_the_suggestion_is_where_the_loss_falls(few, tiny, optimizer, rate):
    test = find_learning_rate(tiny, few, replace(CONFIG, optimizer=optimizer), None, 1e-4, 10, 40)
    assert test.rate == rate
    assert len(test.rates) == len(test.losses) <= 40
    np.testing.assert_allclose(np.diff(np.log(test.rates)), np.log(1e5) / 39)
    assert test.rates[0] == pytest.approx(1e-4)
    assert 1e-4 <= test.suggestion < 10
    assert test.losses.min() < test.losses[0]


@pytest.mark.parametrize("train", ["all", "head"])
def test_the_settings_train_as_the_test_did_after_learned_weights(few, tiny, train):
    recipe = TrainConfig.finetune(batch_size=len(few.train_labels), epochs=1, train=train)
    found = find_learning_rate(tiny, few, recipe, EXACT, steps=20)
    config = TrainConfig.finetune(**found.settings)
    assert (config.transfer, config.train) == ("near", train)
    assert config.chosen(found.rate) == found.suggestion
    assert found.settings.keys() >= {"transfer", "optimizer", "learning_rate"}
    history = fit(tiny, few, recipe, EXACT)  # of one step
    assert found.losses[0] == pytest.approx(history.records[0].train_loss, rel=1e-5)


def test_sgds_rate_rises_with_muons(few, tiny):
    """At its peak from the first step, it would diverge before the filters have learned."""
    config = replace(CONFIG, muon_learning_rate=0.1, learning_rate=30.0)
    test = find_learning_rate(tiny, few, config, EXACT, 1e-4, 10, steps=40)
    assert test.rate == "muon_learning_rate"
    assert 10 < len(test.losses) < 40  # later it does diverge


def test_the_suggestion_teaches_more_than_a_tenth_of_it(few, tiny):
    config = replace(CONFIG, optimizer="sgd", epochs=15, average_weights=False)
    found = find_learning_rate(tiny, few, config, steps=60).suggestion
    rates = (found, found / 10)
    histories = [
        fit(tiny_classifier(few), few, replace(config, learning_rate=rate)) for rate in rates
    ]
    losses = [history.records[-1].train_loss for history in histories]
    assert losses[0] < losses[1] - 0.1


def test_a_first_batch_that_is_easy_by_chance_is_not_the_suggestion(few, tiny):
    test = find_learning_rate(tiny, few, replace(CONFIG, optimizer="sgd", seed=3))
    assert test.losses.argmin() == 0
    assert test.suggestion > 0.01


def test_the_test_stops_when_the_loss_diverges(few):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 50), nn.ReLU(), nn.Linear(50, 10))
    config = replace(CONFIG, optimizer="sgd")
    test = find_learning_rate(Classifier(network, few), few, config, EXACT, 1e-3, 1e5, steps=60)
    assert len(test.losses) < 60
    assert np.isfinite(test.losses).all()
    assert test.suggestion < test.rates[-1]


def test_a_loss_that_diverges_from_the_start_is_an_error(few, tiny):
    with torch.no_grad():
        tiny.network[0].weight.fill_(float("inf"))
    with pytest.raises(FloatingPointError, match=r"diverges within \d steps, from learning_rate"):
        find_learning_rate(tiny, few, replace(CONFIG, optimizer="sgd"))


@pytest.mark.parametrize("wrong", [{"lowest": 0}, {"highest": 1e-5}, {"steps": 9}])
def test_wrong_arguments_are_named(few, tiny, wrong):
    with pytest.raises(ValueError, match="expected 0 < lowest < highest and 10 steps or more"):
        find_learning_rate(tiny, few, CONFIG, **wrong)
