"""Make the bundled sample, pytorch_vision/data/sample/, from verified CIFAR-10.

    python make_sample.py [root]

``root`` is where CIFAR-10 is kept (default: data); it is downloaded if it is not there.
"""

import json
import sys
from pathlib import Path

from PIL import Image

from pytorch_vision.data import load_data
from pytorch_vision.data.splits import balanced_indices

COUNTS = {"train": 1000, "test": 500}
COLUMNS = 25


def main(root: str = "data") -> None:
    """Write train.png, test.png (tiles in the data set's order) and labels.json."""
    data = load_data("full", root)
    folder = Path(__file__).parent / "pytorch_vision" / "data" / "sample"
    folder.mkdir(exist_ok=True)
    labels = {}
    for part, count in COUNTS.items():
        all_images, all_labels = getattr(data, f"{part}_images"), getattr(data, f"{part}_labels")
        indices = balanced_indices(all_labels, count)
        rows = all_images[indices].reshape(-1, COLUMNS, 32, 32, 3).swapaxes(1, 2)
        picture = Image.fromarray(rows.reshape(-1, COLUMNS * 32, 3))
        picture.save(folder / f"{part}.png", optimize=True)
        labels[part] = {"indices": indices.tolist(), "labels": all_labels[indices].tolist()}
    (folder / "labels.json").write_text(json.dumps(labels) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
