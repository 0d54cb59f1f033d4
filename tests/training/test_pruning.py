from itertools import chain

import numpy as np
import torch
import torch.nn.functional as F
from hooks import batches_shown, recognized
from small import EXACT, UNVARIED, tiny_network

from pytorch_vision.data import eval_batches
from pytorch_vision.models import Classifier
from pytorch_vision.training import TrainConfig, fit

# almost no learning, so that losses do not change, and images that can be recognised
STILL = TrainConfig(
    epochs=3,
    batch_size=16,
    optimizer="sgd",
    learning_rate=1e-12,
    augmentation=UNVARIED,
    pruning=0.4,
)


def test_pruning_leaves_out_images_of_small_loss(few):
    """Later epochs show 60 of 100 images, chosen anew."""
    classifier = Classifier(tiny_network(normalization=False), few)
    shown = batches_shown(classifier.network)
    fit(classifier, few, STILL, EXACT)
    assert [len(images) for images in shown] == [*[16] * 6, 4, *[16, 16, 16, 12] * 2]
    found = [recognized(images, few, classifier.normalization) for images in shown]
    epochs = [list(chain(*part)) for part in (found[:7], found[7:11], found[11:])]
    for counted in (list, set):
        assert [len(counted(epoch)) for epoch in epochs] == [100, 60, 60]
    (images,) = eval_batches(few.train_images, classifier.normalization, torch.device("cpu"))
    with torch.no_grad():
        logits = classifier.network(images)
    losses = F.cross_entropy(logits, torch.from_numpy(few.train_labels), reduction="none")
    easier = losses.argsort()[:60].numpy()
    for epoch in epochs[1:]:
        assert np.isin(np.setdiff1d(np.arange(100), epoch), easier).all()
    assert set(epochs[1]) != set(epochs[2])
