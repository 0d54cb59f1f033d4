import pytest
import torch
import torch.nn.functional as F
from small import UNVARIED
from torch import nn

from pytorch_vision.data import eval_batches
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine
from pytorch_vision.training import TrainConfig, fit


def test_the_training_loss_is_a_mean_over_images(few):
    """The original notebook plotted the loss of each epoch's last batch."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    classifier = Classifier(network, few)
    config = TrainConfig(
        epochs=1,
        batch_size=16,
        optimizer="sgd",
        learning_rate=1e-12,
        label_smoothing=0,
        augmentation=UNVARIED,
    )
    (images,) = eval_batches(few.train_images, classifier.normalization, torch.device("cpu"))
    with torch.no_grad():
        expected = F.cross_entropy(network(images), torch.from_numpy(few.train_labels)).item()
    history = fit(classifier, few, config, Machine(precision="32-true"))
    assert history.records[0].train_loss == pytest.approx(expected, rel=1e-4)
