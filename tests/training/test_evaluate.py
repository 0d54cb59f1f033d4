from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pytorch_vision.data import eval_transform
from pytorch_vision.training import TrainConfig, evaluate, fit


def test_the_test_loss_is_a_mean_over_images(few, tiny):
    config = TrainConfig(precision="32-true", accelerator="cpu")  # a GPU rounds to 10 bits
    result = evaluate(tiny, few, config)
    pipeline = eval_transform(*few.mean_and_std)
    images = torch.stack([pipeline(image=image)["image"] for image in few.test_images])
    with torch.no_grad():
        logits = tiny.eval()(images)
    labels = torch.from_numpy(few.test_labels)
    assert result.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert result.correct == (logits.argmax(1) == labels).sum()
    assert result.count == 50


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_leaves_the_model_as_it_was(few, tiny, training):
    tiny.train(training)
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    evaluate(tiny, few)
    assert tiny.training is training
    assert all(torch.equal(before[n], tensor) for n, tensor in tiny.cpu().state_dict().items())


@pytest.mark.parametrize("work", [fit, evaluate])
def test_a_network_with_other_outputs_than_classes_is_refused_before_training(few, tiny, work):
    two = replace(
        few,
        class_names=("left", "right"),
        train_labels=few.train_labels % 2,
        test_labels=few.test_labels % 2,
    )
    before = [tensor.clone() for tensor in tiny.state_dict().values()]
    with pytest.raises(ValueError, match=r"gives \(1, 10\) for one image, expected \(1, 2\)"):
        work(tiny, two)
    assert all(map(torch.equal, before, tiny.cpu().state_dict().values()))
