"""How fast photographs are read, against a plain loop of Pillow and one that decodes at scale.

    python benchmarks/photographs.py [photographs] [folder]

It makes 80 JPEGs of 4,000x3,000 pixels: mosaics of the sample's images, enlarged, with noise, at
quality 90, some of them turned by EXIF. All sides read them in one run at 128 pixels, in turn; what
is printed is the best of three, in seconds and, for machines with other work, in processor seconds.
With a folder, its JPEGs take the place of these. How far pixels differ from those of the whole
decode is printed too.
"""

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pytorch_vision.data import load_data, load_folder, read_image

SIDE = 128
ROUNDS = 3


def photographs(folder: Path, count: int) -> None:
    """Write JPEGs of two classes."""
    images, random = load_data("sample").train_images, np.random.default_rng(0)
    for number in range(count):
        tiles = images[random.integers(0, len(images), 12)].reshape(3, 4, 32, 32, 3)
        mosaic = tiles.transpose(0, 2, 1, 3, 4).reshape(96, 128, 3)
        large = Image.fromarray(mosaic).resize((4000, 3000), Image.Resampling.BICUBIC)
        noise = random.integers(-8, 9, (3000, 4000, 1), np.int16)
        picture = Image.fromarray((np.asarray(large) + noise).clip(0, 255).astype(np.uint8))
        exif = Image.Exif()
        exif[0x0112] = (1, 1, 6, 8)[number % 4]
        path = folder / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=90, exif=exif)


def whole(path: Path) -> np.ndarray:
    """Read a picture as a plain loop does."""
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
        return np.asarray(ImageOps.fit(upright, (SIDE, SIDE), Image.Resampling.LANCZOS))


def scaled(path: Path) -> np.ndarray:
    """Read a picture from a scaled decode, also in a plain loop."""
    with Image.open(path) as picture:
        picture.draft("RGB", (2 * SIDE, 2 * SIDE))
        upright = ImageOps.exif_transpose(picture).convert("RGB")
        return np.asarray(ImageOps.fit(upright, (SIDE, SIDE), Image.Resampling.LANCZOS))


def seconds(work: Callable[[], object]) -> np.ndarray:
    """Return the seconds and the processor seconds of a call, whose prints are swallowed."""
    start = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        work()
    return np.subtract((time.perf_counter(), time.process_time()), start)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 80
    with tempfile.TemporaryDirectory() as made:
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(made)
        if len(sys.argv) <= 2:
            photographs(folder, count)
        files = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".jpeg"))
        files = files[:count]
        sides = {
            "a plain loop": lambda: [whole(path) for path in files],
            "a loop of scaled decodes": lambda: [scaled(path) for path in files],
            "load_folder": lambda: load_folder(folder, SIDE),
        }
        best = dict.fromkeys(sides, np.full(2, np.inf))
        for _ in range(ROUNDS):
            for name, work in sides.items():
                best[name] = np.minimum(best[name], seconds(work))
        for name, (value, processor) in best.items():
            print(
                f"{name:26} {value:6.2f} s, {len(files) / value:7.1f} photographs a second; "
                f"{processor:6.2f} processor s"
            )
        differences = [
            np.abs(whole(path).astype(int) - read_image(path, SIDE)[0]) for path in files[:20]
        ]
        print(
            f"pixels differ from those of the whole decode by {np.mean(differences):.2f} of 255 "
            f"on average, {np.max(differences)} at most"
        )
        ratio, of_processor = best["a plain loop"] / best["load_folder"]
        print(f"plain_ratio={ratio:.2f} processor_ratio={of_processor:.2f}")


if __name__ == "__main__":
    main()
