from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import EXACT, equal, state_of

from pytorch_vision.data import eval_batches
from pytorch_vision.models import Classifier
from pytorch_vision.training import evaluate, fit


def test_the_test_loss_is_a_mean_over_images(few, tiny):
    result = evaluate(tiny, few, EXACT)
    (images,) = eval_batches(few.test_images, tiny.normalization, torch.device("cpu"))
    with torch.no_grad():
        logits = tiny.network.eval()(images)
    labels = torch.from_numpy(few.test_labels)
    assert result.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert result.correct == (logits.argmax(1) == labels).sum()
    assert result.count == 50
    assert result.accuracy == 2 * result.correct


@pytest.mark.parametrize("work", [fit, evaluate])
def test_data_that_does_not_fit_the_network_is_refused_before_training(few, tiny, work):
    """A network with other outputs than classes; data with other classes, or another size."""
    two = replace(
        few,
        class_names=("left", "right"),
        train_labels=few.train_labels % 2,
        test_labels=few.test_labels % 2,
    )
    small = {name: getattr(few, name)[:, :24] for name in ("train_images", "test_images")}
    before = state_of(tiny.network)
    with pytest.raises(ValueError, match=r"returns \(1, 10\) for one image, expected \(1, 2\)"):
        work(Classifier(tiny.network, two), two)
    with pytest.raises(ValueError, match=r"has other classes \(airplane, .* \(left, right\)"):
        work(tiny, two)
    with pytest.raises(ValueError, match=r"takes images of 32x32 pixels, .* have 24x32"):
        work(tiny, replace(few, **small))
    with pytest.raises(ValueError, match="data is list, expected ImageData"):
        work(tiny, [1, 2])
    assert equal(tiny.network, before)


def test_a_network_without_weights_that_gives_one_answer_is_tested(few):
    """It is right for that class's images; the line names the class, unless all are of one."""

    class Same(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.arange(10.0).expand(len(x), 10)

    classifier = Classifier(Same(), few)
    result = evaluate(classifier, few)
    assert result.correct == np.sum(few.test_labels == 9)
    assert str(result).endswith(f", all taken for {few.class_names[9]!r}")
    one = replace(few, test_labels=np.zeros_like(few.test_labels))
    assert evaluate(classifier, one).only is None
