"""Runs that are killed, asked to end, started twice, or left without a place to write."""

import hashlib
import io
import os
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hooks import at_step
from small import EXACT, few_images, tiny_classifier
from tqdm import tqdm

from pytorch_vision.runtime import files
from pytorch_vision.training import TrainConfig, checkpoint, fit
from torture.forks import result, start, wait

CONFIG = TrainConfig(epochs=3, batch_size=16)
DATA = few_images()
LEFT = {checkpoint.NAME, files.LOCK}  # in the folder of a finished run


def trained(folder: Path, step: int = 0, act: Callable[[], None] | None = None) -> Callable:
    """Return work that trains, saving after every batch, and tells the weights' SHA-256.

    Args:
        folder: of the checkpoint.
        step: in which something happens, counted from 1 over this training.
        act: what happens.
    """

    def work() -> str:
        checkpoint.SAVE_SECONDS = -1.0
        classifier = tiny_classifier(DATA)
        if act is not None:
            at_step(classifier.network, step, lambda _: act())
        history = fit(classifier, DATA, CONFIG, EXACT, folder)
        if len(history.records) < CONFIG.epochs:
            return "interrupted"
        digest = hashlib.sha256()
        for tensor in classifier.network.state_dict().values():
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    return work


class Place:
    """A temporary folder, and what an undisturbed run comes to."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="torture-"))
        self.told, self.folder = self.root / "told", self.root / "kept"
        begun = time.monotonic()
        self.expected = result(trained(self.folder), self.told)
        self.seconds = time.monotonic() - begun
        assert len(self.expected) == 64, self.expected
        self.clean()

    def clean(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def completed(self) -> str:
        """Let the run come to its end, and tell how that was."""
        found = result(trained(self.folder), self.told)
        left = set(os.listdir(self.folder)) - LEFT
        self.clean()
        if found != self.expected:
            return f"other weights ({found[:60]})"
        return f"left {sorted(left)}" if left else "same bits"

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def kills(count: int, seed: int = 0) -> Counter:
    """SIGKILL at random moments, one to three for each run; then the run is completed."""
    random, seen = np.random.default_rng(seed), Counter()
    with Place() as place, tqdm(total=count, desc="kills") as bar:
        while seen["killed"] < count:
            for _ in range(random.integers(1, 4)):
                pid = start(trained(place.folder), place.told)
                time.sleep(random.uniform(0, place.seconds))
                os.kill(pid, signal.SIGKILL)
                seen["killed"] += wait(pid) == signal.SIGKILL and not place.told.exists()
            seen[place.completed()] += 1
            bar.update(seen["killed"] - bar.n)
    return seen


def kills_in_a_write(count: int, seed: int = 0) -> Counter:
    """SIGKILL in the middle of writing a checkpoint."""
    random, seen = np.random.default_rng(seed), Counter()
    with Place() as place:
        for _ in tqdm(range(count), desc="kills in a write"):
            left = [int(random.integers(1, 300))]  # writes until then; a checkpoint takes about 100

            def work(left=left) -> str:
                class Cut(io.BufferedWriter):
                    def write(self, content: bytes) -> int:
                        left[0] -= 1
                        if not left[0]:
                            super().write(content[: len(content) // 2])
                            self.flush()
                            os.kill(os.getpid(), signal.SIGKILL)
                        return super().write(content)

                files.open = lambda path, _: Cut(io.FileIO(path, "w"))
                return trained(place.folder)()

            seen["killed"] += result(work, place.told) == "killed"
            seen[place.completed()] += 1
    return seen


def signals(count: int, seed: int = 0) -> Counter:
    """SIGTERM, SIGHUP and SIGINT at random steps: a checkpoint of that batch, then the end."""
    random, seen = np.random.default_rng(seed), Counter()
    with Place() as place:
        for number in tqdm(range(count), desc="signals"):
            kind = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)[number % 3]
            step = int(random.integers(1, 22))
            work = trained(place.folder, step, lambda kind=kind: os.kill(os.getpid(), kind))
            status = wait(start(work, place.told))
            ended = place.told.read_text() if place.told.exists() else signal.Signals(status).name
            progress = checkpoint.load(place.folder)["run"]["progress"]
            at = progress["epoch"] * 7 + progress["batch"]
            wanted = "interrupted" if kind == signal.SIGINT else kind.name
            whole = place.expected if kind == signal.SIGINT and step == 21 else wanted
            fine = ended in (wanted, whole) and at == step
            seen["ended as asked" if fine else f"{kind.name}: {ended}, {at} for {step}"] += 1
            seen[place.completed()] += 1
    return seen


def two_at_once(count: int, seed: int = 0) -> Counter:
    """Two runs are started on one folder at nearly the same time."""
    random, seen = np.random.default_rng(seed), Counter()
    with Place() as place:
        others = place.root / "other"
        for _ in tqdm(range(count), desc="two at once"):
            first = start(trained(place.folder), place.told)
            time.sleep(random.uniform(0, place.seconds / 2))
            second = start(trained(place.folder), others)
            wait(first), wait(second)
            for told in (place.told.read_text(), others.read_text()):
                refused = told.startswith("CheckpointError") and "is in use by process" in told
                good = "refused by name" if refused else "same bits"
                seen[good if refused or told == place.expected else told[:80]] += 1
            place.clean()
    return seen


def no_place(count: int, seed: int = 0) -> Counter:
    """From a random step on, the disk is full, the folder gone, a file in its place, read-only."""
    random, seen = np.random.default_rng(seed), Counter()
    with Place() as place:

        def full() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

        def gone() -> None:
            shutil.rmtree(place.folder)

        def in_the_way() -> None:
            shutil.rmtree(place.folder)
            place.folder.write_text("a file")

        def read_only() -> None:
            place.folder.chmod(0o555)
            if os.geteuid() == 0:  # to root, nothing is read-only
                os.seteuid(65534)

        for number in tqdm(range(count), desc="no place to write"):
            act = (full, gone, in_the_way, read_only)[number % 4]
            work = trained(place.folder, int(random.integers(2, 21)), act)
            found = result(work, place.told)
            seen["trained on" if found == place.expected else f"{act.__name__}: {found[:80]}"] += 1
            if place.folder.is_file():
                place.folder.unlink()
            elif place.folder.exists():
                place.folder.chmod(0o755)
            seen[place.completed()] += 1
    return seen
