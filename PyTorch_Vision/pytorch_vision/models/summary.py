"""The layer table of a network."""

import contextlib
import io

import torch
import torchsummary

from pytorch_vision.models.adapter import find_call
from pytorch_vision.models.classifier import Classifier
from pytorch_vision.models.module_utils import copied_to_look
from pytorch_vision.runtime.files import is_lack_of_memory


def print_summary(classifier: Classifier) -> None:
    """Print torchsummary's table: each layer's output shape and parameters, and the totals.

    Network and random state are not changed: torchsummary runs a copy in evaluation mode. If it
    cannot list a network's layers, as with attention, prints one line instead.

    Raises:
        ValueError: the network does not take images of this size.
    """
    network, size = classifier.network, classifier.size
    duplicate = copied_to_look(network).cpu()
    call = find_call(duplicate, size)
    table = io.StringIO()
    try:
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(table):
            torchsummary.summary(duplicate, (call.channels, *size), device="cpu")
    except Exception as error:  # torchsummary fails on a layer that does not return one tensor
        if is_lack_of_memory(error):
            raise
        total = f"{sum(parameter.numel() for parameter in network.parameters()):,} parameters"
        print(f"{type(network).__name__}: {total} (torchsummary cannot list its layers)")
        return
    print(table.getvalue(), end="")
