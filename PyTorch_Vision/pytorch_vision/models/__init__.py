"""Networks, and the classifier that holds one with everything needed to use it.

``registry`` makes networks by name, such as those of ``resnet`` and ``custom_resnet``; ``adapter``
calls any network, ``inference`` predicts with it; ``classifier_file``, ``weights`` and
``state_dicts`` read and write files; ``export`` writes ONNX.
"""

from pytorch_vision.models.classifier import Classifier
from pytorch_vision.models.classifier_file import PRETRAINED
from pytorch_vision.models.custom_resnet import CustomResNet
from pytorch_vision.models.history import EpochRecord, History
from pytorch_vision.models.registry import create
from pytorch_vision.models.resnet import ResNet, ResNet18, ResNet34
from pytorch_vision.models.summary import print_summary
