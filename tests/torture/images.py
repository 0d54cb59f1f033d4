"""Damaged images of every format that Pillow writes: read, or named."""

import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pytorch_vision.data import read_image
from torture.corruption import changed

FORMATS = (
    "png",
    "jpg",
    "gif",
    "bmp",
    "tif",
    "webp",
    "avif",
    "dds",
    "jp2",
    "ico",
    "tga",
    "pcx",
    "ppm",
)


def images(count: int, seed: int = 0) -> Counter:
    """Damage an image ``count`` times, in one format after the other."""
    random, seen = np.random.default_rng(seed), Counter()
    formats = [one for one in FORMATS if f".{one}" in Image.registered_extensions()]
    rows = np.linspace(0, 255, 48)[:, None, None]
    picture = Image.fromarray((0.5 * rows + random.integers(0, 128, (48, 48, 3))).astype(np.uint8))
    with tempfile.TemporaryDirectory(prefix="torture-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what it can do without
        for number in tqdm(range(count), desc="damaged images"):
            path = Path(folder) / f"damaged.{formats[number % len(formats)]}"
            picture.save(path)
            content = path.read_bytes()
            for _ in range(random.integers(1, 4)):
                content = changed(content, random) or b"x"
            path.write_bytes(content)
            try:
                read_image(path)
            except ValueError as error:
                seen["named" if path.name in str(error) else f"not named: {error}"] += 1
            except Exception as error:
                seen[f"raw: {type(error).__name__}: {error}"] += 1
            else:
                seen["read"] += 1
    return seen
