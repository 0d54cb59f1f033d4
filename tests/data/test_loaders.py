import albumentations as A
import numpy as np
import pytest
import torch
from hooks import recognized
from small import UNVARIED

from pytorch_vision.data import (
    Augmentation,
    ImageData,
    Normalization,
    TrainLoader,
    eval_batches,
    loaders,
    subset,
    train_loader,
)
from pytorch_vision.data.loaders import IGNORED
from pytorch_vision.data.normalization import Normalizer

NORMALIZATION = Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def on_host(data: ImageData, *arguments) -> TrainLoader:
    """The loader that uses albumentations, with a normalisation that most tests ignore."""
    return TrainLoader(data, NORMALIZATION, *arguments)


def on_device(data: ImageData, *arguments) -> TrainLoader:
    """The loader for a GPU, on the one device that every machine has."""
    return TrainLoader(data, NORMALIZATION, *arguments, device=torch.device("cpu"))


def test_an_epoch_shows_every_image_once(few):
    loader = on_host(few, UNVARIED, 16, 3)
    batches = list(loader.epoch(0))
    assert [len(labels) for _, labels in batches] == [16] * 6 + [4]
    assert len(loader) == 7
    images, labels = map(torch.cat, zip(*batches, strict=True))
    order = recognized(images, few, NORMALIZATION)
    assert sorted(order) == list(range(100))
    assert torch.equal(images, Normalizer(NORMALIZATION)(torch.from_numpy(few.train_images[order])))
    assert labels.tolist() == few.train_labels[order].tolist()


@pytest.mark.parametrize("build", [on_host, on_device])
def test_batches_depend_on_seed_epoch_and_batch_alone(few, build):
    def batches(seed: int, epoch: int, start: int = 0) -> list[torch.Tensor]:
        loader = build(few, Augmentation(), 16, seed)
        return [images for images, _ in loader.epoch(epoch, start)]

    def equal(some, others) -> bool:
        return len(some) == len(others) and all(map(torch.equal, some, others))

    assert equal(batches(0, 1), batches(0, 1))
    assert equal(batches(0, 1)[4:], batches(0, 1, start=4))
    assert not equal(batches(0, 1), batches(0, 2))
    assert not equal(batches(0, 1), batches(1, 1))


@pytest.mark.parametrize("batch_size", [7, 50, 500])
def test_eval_batches_are_the_images_in_order(few, batch_size):
    batches = list(eval_batches(few.test_images, NORMALIZATION, batch_size=batch_size))
    assert max(map(len, batches)) == min(batch_size, 50)
    assert torch.equal(
        torch.cat(batches), Normalizer(NORMALIZATION)(torch.from_numpy(few.test_images))
    )
    assert all(batch.is_contiguous() for batch in batches)


@pytest.mark.parametrize("build", [on_host, on_device])
@pytest.mark.parametrize("processes", [2, 3, 7])
def test_several_processes_share_the_images_of_one(few, build, processes):
    """Of batches of 32, the last has 4 images: two for each of two processes, never one."""
    settings = (few, Augmentation(), 32, 5)
    parts = [list(build(*settings, rank, processes).epoch(1)) for rank in range(processes)]
    for batch, (images, labels) in enumerate(build(*settings).epoch(1)):
        shares = [part[batch] for part in parts]
        # a process without a share gets two images that do not count
        seen = [share for share in shares if (share[1] != IGNORED).all()]
        assert torch.equal(torch.cat([share[0] for share in seen]), images)
        assert torch.equal(torch.cat([share[1] for share in seen]), labels)
        assert len(seen) == min(processes, len(labels) // 2)
        assert max(len(share[1]) for share in seen) == -(-len(labels) // len(seen))
        assert all(len(share[0]) == len(share[1]) >= 2 for share in shares)


@pytest.mark.parametrize(
    ("images", "batch_size", "counts"),
    [(33, 16, [16, 17]), (34, 16, [16, 16, 2]), (1, 16, [1]), (3, 1, [1, 1, 1]), (5, 2, [2, 3])],
)
def test_no_image_is_left_alone(few, images, batch_size, counts):
    """BatchNorm after pooling cannot train on one; the order of the images stays the same."""
    loader = on_host(subset(few, images), UNVARIED, batch_size, 0)
    batches = [labels for _, labels in loader.epoch(0)]
    assert [len(labels) for labels in batches] == counts
    assert [loader.count(batch) for batch in range(len(loader))] == counts
    assert [loader.shown(batch) for batch in range(len(loader) + 1)] == [0, *np.cumsum(counts)]
    assert torch.cat(batches).tolist() == loader.labels[loader.order(0)].tolist()


@pytest.mark.parametrize("batches", ["training", "test"])
def test_constants_are_sent_to_a_device_once_and_not_with_every_batch(few, monkeypatch, batches):
    """On a GPU, ``torch.tensor(..., device=...)`` waits until the device has caught up."""
    made = []
    real = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda *a, **k: made.append(a) or real(*a, **k))
    if batches == "training":
        all_of_them = on_device(few, Augmentation(), 16, 0).epoch(0)
    else:
        device = torch.device("meta")  # stands in for a GPU
        all_of_them = eval_batches(few.test_images, NORMALIZATION, device, batch_size=5)
    next(all_of_them)
    assert 0 < len(made) <= 3
    made.clear()
    assert len(list(all_of_them)) >= 6
    assert made == []


STEPS = Augmentation(steps=[A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)])


@pytest.mark.parametrize(
    ("augmentation", "device", "used", "lines"),
    [
        (UNVARIED, "cpu", None, 0),
        (UNVARIED, "meta", torch.device("meta"), 0),  # which stands in for a GPU
        (STEPS, "cpu", None, 0),
        (STEPS, "cuda", None, 1),
    ],
)
def test_the_device_decides_on_the_loader(few, capsys, augmentation, device, used, lines):
    """But custom steps are not lost on a GPU, and a line says where they run."""
    found = train_loader(few, NORMALIZATION, augmentation, 16, 0, torch.device(device))
    assert found.device == used
    assert capsys.readouterr().out.count("\n") == lines


def test_images_for_which_a_gpu_has_no_room_are_copied_batch_by_batch(few, monkeypatch):
    expected = list(on_device(few, Augmentation(), 16, 0).epoch(1))
    monkeypatch.setattr(loaders, "has_room", lambda device, size: False)
    loader = on_device(few, Augmentation(), 16, 0)
    assert loader.on_device is None
    for (images, labels), (others, theirs) in zip(loader.epoch(1), expected, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, theirs)
