"""Networks as people bring them: what trains in a plain loop trains here, and comes back."""

import copy
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import few_images, tiny_network
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from pytorch_vision.analysis import grad_cam, removal
from pytorch_vision.data import Augmentation, ImageData, subset
from pytorch_vision.explain.geometry import last_map
from pytorch_vision.models import Classifier, print_summary
from pytorch_vision.models.module_utils import tensors_of
from pytorch_vision.runtime import Machine
from pytorch_vision.training import TrainConfig, evaluate, find_learning_rate, fit

EXACT = Machine(accelerator="cpu", precision="32-true")
CONFIG = TrainConfig(epochs=1, batch_size=16)


class Body(nn.Module):
    """Two convolutions and a classifier; what differs is in the networks below."""

    def __init__(self, channels: int = 3, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 2, 1)
        self.conv2 = nn.Conv2d(width, width, 3, 2, 1)
        self.linear = nn.Linear(width, 10)

    def features(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x).relu()).relu()

    def forward(self, x: Tensor) -> Any:
        return self.linear(self.features(x).mean((2, 3)))


class Viewed(Body):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8 * 8 * 8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.linear(x.view(x.size(0), -1))


class ViewedInTraining(Body):
    """As an auxiliary classifier does."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        if self.training:
            x = x.view(len(x), -1, 1, 1).view(len(x), 8, 8, 8)
        return self.linear(x.mean((2, 3)))


class TwoNames(Body):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(self.conv1, nn.ReLU(), self.conv2)
        self.again = nn.Conv2d(8, 8, 3, 2, 1)
        self.again.weight = self.conv2.weight

    def features(self, x: Tensor) -> Tensor:
        return self.again(self.backbone(x).relu())


class Sharing(Body):
    """One parameter is a part of another's memory."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("corner", self.conv1.weight.detach()[:2])
        self.register_buffer("wide", torch.ones(1, 1).expand(4, 10))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.wide[0]


class Odd(Body):
    """Buffers of all kinds, a float64 scale, and a mask that is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("used", torch.zeros(10, dtype=torch.bool))
        self.register_buffer("empty", torch.empty(0, 3))
        self.register_buffer("spectrum", torch.tensor([1 + 2j, 3j], dtype=torch.complex128))
        self.register_buffer("mask", torch.full((3,), -torch.inf))
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))
        self.frozen = nn.Parameter(torch.full((2,), -torch.inf), requires_grad=False)
        self.phase = nn.Parameter(torch.ones(8, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
            self.used[0] = True
        x = self.features(x).mean((2, 3))
        weights = torch.cat([self.mask, torch.zeros(5)]).softmax(0) + 1
        x = torch.fft.ifft(torch.fft.fft(x) * self.phase).real * weights
        return (self.linear(x).double() * self.scale).float()


class Answering(Body):
    def __init__(self, wrap: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        x = self.features(x)
        return self.wrap(self.linear(x.mean((2, 3))), x)


@dataclass
class Output:
    features: Tensor
    logits: Tensor


class PartlyUsed(Body):
    def __init__(self) -> None:
        super().__init__()
        self.unused, self.auxiliary = nn.Conv2d(8, 8, 3), nn.Linear(8, 10)


class Chancy(Body):
    """Draws from all that there is to draw from."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.features(x).mean((2, 3)), 0.2, self.training)
        if self.training:
            x = x * (1 + 0.1 * random.random()) + 0.1 * float(np.random.rand())
        return self.linear(x)


class ThroughNumpy(Body):
    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).mean((2, 3))
        largest = x.detach().numpy().max()  # has no bfloat16
        return self.linear(x / float(largest + 1))


class Squeezed(Body):
    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), 1).squeeze()
        return F.log_softmax(self.linear(x), dim=1)


class Remembering(Body):
    """Keeps its features, a lock, and a table that it makes when it is first asked."""

    def __init__(self) -> None:
        super().__init__()
        self.lock, self.seen, self.table = threading.Lock(), [], None

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.arange(10.0) / 10
        self.last = self.features(x)
        self.seen = [self.last]
        return self.linear(self.last.mean((2, 3))) * (1 + self.table)


class Zero(Body):
    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.conv2.weight)
        self.conv2.stride = 1

    def features(self, x: Tensor) -> Tensor:
        x = self.conv1(x).relu()
        return x + self.conv2(x)


class Foreign(Body):
    """Keeps things in its state that are no tensors, and some that no file may hold."""

    steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        return super().forward(x)

    def get_extra_state(self) -> Any:
        return {"steps": self.steps, "kind": object}

    def set_extra_state(self, state: Any) -> None:
        self.steps = state["steps"]


class OfChannels(Body):
    """BatchNorm on features that are no maps: it cannot be trained on one image."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.features(x).mean((2, 3))))


def lazy() -> nn.Module:
    return nn.Sequential(
        nn.LazyConv2d(8, 3, 2), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)
    )


def normed(norm: Callable[[nn.Module], nn.Module]) -> nn.Module:
    network = Body()
    norm(network.conv1)
    norm(network.conv2)
    return network


def used(network: nn.Module) -> nn.Module:
    """A network that has been trained before, with what its layers computed then."""
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    return network


def frozen() -> nn.Module:
    network = tiny_network()
    network[0].requires_grad_(False)
    return network


class OnePool(nn.Module):
    """PyTorch's tutorial: one pooling, called twice."""

    def __init__(self, again: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.last = again or self.pool
        self.fc1, self.fc2 = nn.Linear(16 * 5 * 5, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(F.relu(self.conv2(self.pool(F.relu(self.conv1(x))))))
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


class FrozenNorm(Body):
    """With the usual snippet, that forgets what ``train`` returns."""

    def train(self, mode: bool = True) -> Any:
        super().train(mode)


class AllSqueezed(Body):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze()


class PartlyScripted(Body):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.jit.script(self.conv1)


class KeptByAHook(Body):
    """Classifies what a hook, a method, has kept of a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2.register_forward_hook(self.keep)

    def keep(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self.kept = output

    def forward(self, x: Tensor) -> Tensor:
        self.features(x)
        return self.linear(self.kept.relu().mean((2, 3)))


class FrozenBelow(Body):
    """Its features are calculated without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.below = nn.Sequential(self.conv1, nn.ReLU(), self.conv2, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.below(x)
        return self.linear(x.mean((2, 3)))


class Enlarged(Body):
    """As for a network that knows larger images."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.interpolate(x, size=(64, 64), mode="bilinear"))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "view": Viewed,
    "view in training": ViewedInTraining,
    "two names": TwoNames,
    "shared memory": Sharing,
    "odd buffers": Odd,
    "tuple": lambda: Answering(lambda logits, x: (logits, x)),
    "list": lambda: Answering(lambda logits, x: [logits, x]),
    "dictionary": lambda: Answering(lambda logits, x: {"features": x, "logits": logits}),
    "object": lambda: Answering(lambda logits, x: SimpleNamespace(logits=logits)),
    "dataclass": lambda: Answering(lambda logits, x: Output(x, logits)),
    "unused layers": PartlyUsed,
    "chance": Chancy,
    "numpy": ThroughNumpy,
    "squeeze": Squeezed,
    "remembering": Remembering,
    "zero filters": Zero,
    "one channel": lambda: Body(1),
    "one channel, flat": lambda: nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 10)),
    "norm of features": OfChannels,
    "lazy": lazy,
    "weight_norm": lambda: normed(torch.nn.utils.weight_norm),
    "weight_norm, used": lambda: used(normed(torch.nn.utils.weight_norm)),
    "spectral_norm": lambda: normed(torch.nn.utils.spectral_norm),
    "new weight_norm": lambda: normed(parametrizations.weight_norm),
    "new spectral_norm": lambda: normed(parametrizations.spectral_norm),
    "data parallel": lambda: nn.DataParallel(Body()),
    "compiled": lambda: torch.compile(Body()),
    "scripted": lambda: torch.jit.script(tiny_network()),
    "traced": lambda: torch.jit.trace(tiny_network().eval(), torch.zeros(2, 3, 32, 32)),
    "foreign state": Foreign,
    "frozen": frozen,
    "one pooling": OnePool,
    "no answer to train": FrozenNorm,
    "all squeezed": AllSqueezed,
    "partly scripted": PartlyScripted,
    "kept by a hook": KeptByAHook,
    "enlarged images": Enlarged,
    "frozen below": FrozenBelow,
    "float64": lambda: tiny_network().double(),
    "half": lambda: tiny_network().half(),
    "five dimensions": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 8, (3, 3, 3), 2, 1), nn.Flatten(2),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 10),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def data() -> ImageData:
    """33 training images: the last batch of 16 would have one."""
    few = few_images()
    return replace(
        subset(few, 33), test_images=few.test_images[:17], test_labels=few.test_labels[:17]
    )


def made(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[kind]()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("machine", [EXACT, Machine(accelerator="cpu", precision="bf16-mixed")])
@pytest.mark.parametrize("kind", NETWORKS)
def test_it_is_trained_tested_kept_and_explained(data, tmp_path, kind, machine, capsys):
    classifier = Classifier(made(kind), data)
    find_learning_rate(classifier, data, CONFIG, machine, steps=10)
    before = copy.deepcopy(tensors_of(classifier.network))
    order = [parameter.stride() for parameter in classifier.network.parameters()]
    history = fit(classifier, data, CONFIG, machine)
    after = tensors_of(classifier.network)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert [parameter.stride() for parameter in classifier.network.parameters()] == order
    result = evaluate(classifier, data, machine)
    assert history.records[0].test_loss == pytest.approx(result.loss, rel=1e-4)
    assert np.isfinite(result.loss)

    path = tmp_path / "weights.safetensors"
    classifier.save(path)
    other = Classifier.load(path, made(kind))
    for name, tensor in after.items():
        assert torch.equal(other.network.state_dict()[name], tensor), name
    found = classifier.predict(data.test_images, EXACT)
    np.testing.assert_allclose(other.predict(data.test_images, EXACT), found, atol=1e-5)
    other = Classifier(made(kind), data)
    assert other.begin_with(path).startswith("Beginning with the weights of")

    print_summary(classifier)
    if kind not in (
        "one channel, flat",
        "scripted",
        "traced",
        "five dimensions",
    ):  # no map, or none that is known
        layer = last_map(classifier)
        maps = grad_cam(classifier, data.test_images[:3], [0, 1, 2], layer)
        assert np.isfinite(maps).all()
        removal(classifier, data.test_images[:3], np.arange(3), {"map": maps}, (0.5,), machine)


@pytest.mark.parametrize(
    "kind", ["view", "odd buffers", "two names", "chance", "weight_norm", "foreign state"]
)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_it_goes_on_as_if_it_had_not_stopped(data, tmp_path, kind):
    """What a network draws from is kept, too."""
    config = replace(CONFIG, epochs=2)
    whole, resumed = [], []
    for stops, kept in ((False, whole), (True, resumed)):
        random.seed(0), np.random.seed(0)
        classifier = Classifier(made(kind), data)
        if stops:
            fit(classifier, data, config, EXACT, tmp_path, lambda tested: True)
            random.seed(7), np.random.seed(7)
            classifier = Classifier(made(kind), data)
        fit(classifier, data, config, EXACT, tmp_path if stops else None)
        kept.append(classifier.network)
    for name, tensor in tensors_of(whole[0]).items():
        assert torch.equal(tensor, resumed[0].state_dict()[name]), name


def test_a_network_whose_layers_are_hidden_is_not_explained(data):
    classifier = Classifier(made("scripted"), data)
    for explain in (last_map, lambda c: grad_cam(c, data.test_images[:1], [0])):
        with pytest.raises(ValueError, match="its layers cannot be looked into: explain the netw"):
            explain(classifier)


@pytest.mark.parametrize("method", ["gradcam", "eigencam"])
def test_a_layer_that_is_called_twice_is_explained_by_its_last_call(data, method):
    shared, own = OnePool(), OnePool(nn.MaxPool2d(2, 2))
    own.load_state_dict(shared.state_dict())
    assert last_map(Classifier(shared, data)) == "pool"
    maps = [
        grad_cam(Classifier(network, data), data.test_images[:5], np.arange(5), layer, method)
        for network, layer in ((shared, "pool"), (own, "last"))
    ]
    np.testing.assert_array_equal(*maps)
    assert maps[0].max() == 1


def with_hook() -> nn.Module:
    class Keeping(Body):
        def __init__(self) -> None:
            super().__init__()

            def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
                self.kept = output  # of the network that was made here, whatever its copies do

            self.conv2.register_forward_hook(keep)

        def forward(self, x: Tensor) -> Tensor:
            self.features(x)
            return self.linear(self.kept.relu().mean((2, 3)))

    return Keeping()


def with_another_forward() -> nn.Module:
    network = Body()
    usual = network.forward
    network.forward = lambda x: 2 * usual(x)
    return network


@pytest.mark.parametrize("make", [with_hook, with_another_forward])
def test_a_network_whose_copy_would_be_another_is_not_averaged(data, make):
    with pytest.raises(ValueError, match=r"holds the network itself.*set average_weights=False"):
        fit(Classifier(make(), data), data, CONFIG, EXACT)
    classifier = Classifier(make(), data)
    history = fit(classifier, data, replace(CONFIG, average_weights=False), EXACT)
    assert evaluate(classifier, data, EXACT).loss == pytest.approx(history.records[-1].test_loss)


def test_layers_of_a_compiled_networks_wrapper_stay(data):
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.extra = torch.compile(Body()), nn.Linear(10, 10)

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.model, name)

    assert isinstance(Classifier(Wrapper(), data).network, Wrapper)


def test_what_the_caller_does_with_gradients_changes_nothing(data):
    def work(classifier: Classifier) -> list[float]:
        history = fit(classifier, data, replace(CONFIG, epochs=2), EXACT)
        find_learning_rate(classifier, data, CONFIG, EXACT, steps=10)
        assert grad_cam(classifier, data.test_images[:2], [0, 1]).max() == 1
        return [*history.column("train_loss"), evaluate(classifier, data, EXACT).loss]

    expected = work(Classifier(tiny_network(), data))
    for mode in (torch.no_grad, torch.inference_mode):
        classifier = Classifier(tiny_network(), data)
        with mode():
            assert work(classifier) == expected
    classifier = Classifier(tiny_network(), data)
    with torch.autocast("cpu", torch.bfloat16):
        assert work(classifier) == expected


def test_what_is_seldom_meant_is_told(data, capsys):
    class Hidden(Body):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)]
            self.known = {"first": self.conv1}

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.blocks[1](self.blocks[0](x))).softmax(1)

    fit(Classifier(Hidden(), data), data, CONFIG, EXACT)
    printed = capsys.readouterr().out
    assert "blocks holds layers that are neither trained nor saved" in printed
    assert "known" not in printed
    assert "seems to end with a softmax" in printed
    for network in (Body(), nn.Sequential(tiny_network(), nn.LogSoftmax(1))):
        fit(Classifier(network, data), data, CONFIG, EXACT)
    printed = capsys.readouterr().out
    assert "softmax" not in printed
    assert "holds" not in printed


def test_what_is_no_network_and_no_data_is_named(data):
    for given, message in (
        (Body, r"network is the class Body, expected a network: Body\(\)"),
        (Body().state_dict(), "network is a dict, of weights maybe: make the network"),
        ([1], "network is list, expected a torch.nn.Module"),
    ):
        with pytest.raises(ValueError, match=message):
            Classifier(given, data)
    with pytest.raises(ValueError, match="classifier is Body, expected a Classifier"):
        fit(Body(), data)
    with pytest.raises(ValueError, match="data is list, expected ImageData"):
        fit(Classifier(Body(), data), [1, 2])


def test_names_of_one_weight_stay_one(data, tmp_path):
    classifier = Classifier(TwoNames(), data)
    fit(classifier, data, CONFIG, EXACT)
    classifier.save(tmp_path / "weights")
    network = Classifier.load(tmp_path / "weights", TwoNames()).network
    assert network.again.weight is network.conv2.weight is network.backbone[2].weight


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_what_takes_no_part_is_left_as_it_is(data, optimizer):
    classifier = Classifier(PartlyUsed(), data)
    before = classifier.network.unused.weight.detach().clone()
    fit(classifier, data, replace(CONFIG, optimizer=optimizer), EXACT)
    assert torch.equal(classifier.network.unused.weight, before)


def test_filters_that_are_zero_learn(data):
    classifier = Classifier(Zero(), data)
    fit(classifier, data, CONFIG, EXACT)
    assert classifier.network.conv2.weight.isfinite().all()
    assert classifier.network.conv2.weight.abs().sum() > 0


def test_counters_and_masks_are_those_of_the_last_step(data):
    """They are no weights, of which an average is tested."""
    classifier = Classifier(made("odd buffers"), data)
    fit(classifier, data, replace(CONFIG, epochs=2), EXACT)
    assert classifier.network.steps == 4
    assert classifier.network.used[0]


def test_one_channel_is_luma(data):
    network = Body(1)
    red = np.zeros((2, 32, 32, 3), np.uint8)
    red[1, ..., 0] = 255
    classifier = Classifier(network, data)
    mean, std = classifier.normalization.mean, classifier.normalization.std
    pixels = (torch.from_numpy(red) / 255 - torch.tensor(mean)) / torch.tensor(std)
    luma = (pixels @ torch.tensor([0.299, 0.587, 0.114]))[:, None]
    with torch.no_grad():
        expected = network.eval()(luma).softmax(1)
    np.testing.assert_allclose(classifier.predict(red, EXACT), expected, atol=1e-5)


def test_lazy_layers_are_made_for_the_images(data):
    network = Classifier(lazy(), data).network
    assert network[-1].weight.shape == (10, 8 * 15 * 15)


def test_layers_keep_their_own_mode(data):
    network = tiny_network().train()
    network[1].eval()
    classifier = Classifier(network, data)
    classifier.predict(data.test_images, EXACT)
    evaluate(classifier, data, EXACT)
    assert network.training
    assert network[0].training
    assert not network[1].training


def lenet() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 5, 2), nn.Flatten(), nn.Linear(6 * 22 * 22, 10))


@pytest.mark.parametrize(
    "work",
    [
        lambda c, d: fit(c, d, CONFIG, EXACT),
        lambda c, d: fit(c, d, replace(CONFIG, epochs=0), EXACT),
        lambda c, d: evaluate(c, d, EXACT),
        lambda c, d: c.predict(d.test_images, EXACT),
        lambda c, d: find_learning_rate(c, d, CONFIG, EXACT),
        lambda c, d: grad_cam(c, d.test_images[:1], [0]),
        lambda c, d: last_map(c),
        lambda c, d: print_summary(c),
    ],
)
def test_a_network_for_another_size_is_refused_in_a_sentence(data, work):
    with pytest.raises(
        ValueError,
        match=r"Sequential does not take images of 32x32 pixels \(.*\); it takes such of 48x48 pi",
    ):
        work(Classifier(lenet(), data), data)


def test_smaller_images_of_first_epochs_are_refused_before_training(data):
    with pytest.raises(ValueError, match=r"images of 24x24 pixels .* set progressive_resizing=0"):
        fit(Classifier(Viewed(), data), data, replace(CONFIG, epochs=2, progressive_resizing=0.5))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (tiny_network(classes=7), r"gives \(1, 7\) for one image, expected \(1, 10\)"),
        (Answering(lambda logits, x: (x, logits)), r"gives \(1, 8, 8, 8\) for one image"),
        (Answering(lambda logits, x: {}), "gives dict, expected logits: a tensor, a tuple that"),
        (Answering(lambda logits, x: None), "gives NoneType, expected logits"),
    ],
)
def test_other_answers_are_refused_in_a_sentence(data, network, message):
    for work in (fit, evaluate, find_learning_rate):
        with pytest.raises(ValueError, match=message):
            work(Classifier(network, data), data)


def test_nothing_to_train_is_said(data):
    with pytest.raises(ValueError, match=r"nothing to train in Sequential .*: all of it is frozen"):
        fit(Classifier(tiny_network().requires_grad_(False), data), data, CONFIG)


NAMES = {
    "no-break space": "golden\u00a0retriever",
    "full-width space": "\u9ed2\u3000\u732b",
    "zero-width non-joiner": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0628\u062f",
    "emoji of several": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "right to left": "\u200f\u05e9\u05dc\u05d5\u05dd",
    "combined": "e\u0301te\u0301",
    "long": "x" * 5000,
    "control characters": "a\tb\nc\x1b[31m\x7f",
    "half a character": "caf\udce9",
}


@pytest.mark.parametrize("kind", NAMES)
def test_any_name_comes_back(data, tmp_path, kind, capsys):
    data = replace(data, class_names=(NAMES[kind], *data.class_names[1:]), name=NAMES[kind])
    classifier = Classifier(tiny_network(), data)
    classifier.save(tmp_path / "weights")
    loaded = Classifier.load(tmp_path / "weights", tiny_network())
    assert loaded.class_names == classifier.class_names == data.class_names
    assert loaded.description == classifier.description
    loaded.check(data)
    print(*loaded.class_names, loaded)
    capsys.readouterr().out.encode()
    assert "\x1b" not in loaded.class_names[0]
    if kind not in ("control characters", "half a character"):
        assert loaded.class_names[0] == NAMES[kind]


def test_a_network_says_that_it_knows_one_answer(data, capsys):
    network = tiny_network()
    nn.init.zeros_(network[-1].weight)
    with torch.no_grad():
        network[-1].bias[3] = 9
    classifier = Classifier(network, data)
    assert str(evaluate(classifier, data, EXACT)).endswith(
        f", all taken for {data.class_names[3]!r}"
    )
    one = replace(data, test_labels=np.zeros_like(data.test_labels))  # as it should be, then
    assert evaluate(classifier, one, EXACT).only is None


class Slow(nn.Module):
    """BatchNorm layers of some momentum in a row, as MobileNetV3 has them."""

    def __init__(self, momentum: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (3, 16, 16, 16):
            norm = nn.BatchNorm2d(16, momentum=momentum)
            layers += [nn.Conv2d(channels, 16, 3, 2 if channels == 3 else 1, 1), norm, nn.ReLU()]
        self.layers, self.linear = nn.Sequential(*layers), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.layers(x).mean((2, 3)))


@pytest.mark.parametrize(("momentum", "epochs"), [(0.01, 10), (0.1, 1), (0.001, 3)])
@pytest.mark.parametrize("average_weights", [True, False])
def test_what_is_tested_is_what_was_learned(few, tmp_path, momentum, epochs, average_weights):
    """The test on the training images is as good as with statistics of these images."""
    config = TrainConfig(
        epochs=epochs,
        batch_size=16,
        average_weights=average_weights,
        augmentation=Augmentation(padding=0, cutout=0, flip="none"),
    )
    data = replace(few, test_images=few.train_images, test_labels=few.train_labels)
    torch.manual_seed(0)
    classifier = Classifier(Slow(momentum), data)
    tested = []

    def look(now: Classifier) -> None:
        last = now.history.records[-1]
        tested.append((last.test_loss, evaluate(now, data, EXACT).loss))

    history = fit(classifier, data, config, EXACT, after_epoch=look)
    assert tested[-1][0] == tested[-1][1] == history.records[-1].test_loss
    result = evaluate(classifier, data, EXACT)
    assert result.loss == tested[-1][0]
    images = torch.tensor(data.train_images).permute(0, 3, 1, 2) / 255
    mean, std = (
        torch.tensor(v).view(3, 1, 1)
        for v in (classifier.normalization.mean, classifier.normalization.std)
    )
    with torch.no_grad():
        logits = classifier.network.train()((images - mean) / std)
    right = F.cross_entropy(logits, torch.from_numpy(data.train_labels)).item()
    assert result.loss < right + 0.1


def test_statistics_that_somebody_froze_stay(few):
    class Frozen(Slow):
        def train(self, mode: bool = True) -> "Frozen":
            super().train(mode)
            self.layers[1].eval()
            return self

    network = Frozen(0.01)
    network.layers[1].running_mean += 3
    classifier = Classifier(network, few)
    fit(classifier, few, CONFIG, EXACT)
    assert (network.layers[1].running_mean == 3).all()
    assert not (network.layers[4].running_mean == 0).all()


def test_a_test_obeys_the_memory_of_small_batches(few):
    """And of large images."""
    shown: list[int] = []
    network = tiny_network()
    network.register_forward_pre_hook(
        lambda _, x: shown.append(len(x[0])) if not network.training else None
    )
    images = np.zeros((200, 32, 32, 3), np.uint8)
    many = replace(few, test_images=images, test_labels=np.arange(200) % 10)
    fit(Classifier(network, many), many, replace(CONFIG, batch_size=4), EXACT)
    assert max(shown) <= 16
    shown.clear()
    Classifier(network, many).predict(images, EXACT)
    assert max(shown) <= 64
    shown.clear()
    large = Classifier(network, few, size=(512, 512))
    large.predict(np.zeros((9, 512, 512, 3), np.uint8), EXACT)
    assert max(shown) <= 4
