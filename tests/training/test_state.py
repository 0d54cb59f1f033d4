"""A run goes on from a state that another precision, or an optimizer of one's own, has left."""

import numpy as np
import pytest
import torch
from hooks import interrupt_at, use_float16
from small import EXACT, tiny_classifier
from torch import nn

from pytorch_vision.training import TrainConfig, fit

CONFIG = TrainConfig(epochs=2, batch_size=16)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("to_float16", [True, False])
def test_a_run_goes_on_in_another_precision(
    few, tmp_path, monkeypatch, to_float16, finished, capsys
):
    """After a disconnect, Colab may hand out an older or a newer GPU."""
    for second in (False, True):
        classifier = tiny_classifier(few)
        with monkeypatch.context() as patch:
            if second is to_float16:
                use_float16(patch)
            if not second and not finished:
                interrupt_at(classifier.network, 10)
            history = fit(classifier, few, CONFIG, EXACT, tmp_path)
    assert len(history.records) == 2
    assert "From the checkpoint, run on" in capsys.readouterr().out


def test_an_optimizer_with_numpys_numbers_can_be_resumed(few, tiny, tmp_path):
    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters, lr=np.float64(0.01), betas=(np.float64(0.9), 0.99), weight_decay=np.int64(0)
        )

    fit(tiny, few, CONFIG, EXACT, tmp_path, lambda tested: np.True_, optimizer=make)
    history = fit(tiny_classifier(few), few, CONFIG, EXACT, tmp_path, optimizer=make)
    assert len(history.records) == 2
