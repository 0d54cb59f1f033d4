import pytest

from pytorch_vision.models import MODELS, create


@pytest.mark.parametrize("name", MODELS)
def test_each_is_made_by_its_name(name):
    model = create(name, 3, geometry="standard")
    assert model.architecture == f"{name} of standard geometry for 3 classes"


def test_an_unknown_model_is_named():
    with pytest.raises(ValueError, match="model is 'ResNet19', expected one of ResNet18, ResNet34"):
        create("ResNet19")
