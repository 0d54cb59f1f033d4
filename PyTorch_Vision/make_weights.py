"""Make the weights that come with PyTorch_Vision from those that a training run left.

    python make_weights.py ../weights.safetensors

They are kept in float16: half the size, and still finer than the bfloat16 of the training.
"""

import hashlib
import sys

import torch

from pytorch_vision.models import PRETRAINED, Classifier


def main(path: str) -> None:
    """Write weights/resnet18_cifar10.safetensors and print its SHA-256."""
    Classifier.load(path).save(PRETRAINED, torch.float16)
    print(hashlib.sha256(PRETRAINED.read_bytes()).hexdigest(), PRETRAINED.name)


if __name__ == "__main__":
    main(*sys.argv[1:])
