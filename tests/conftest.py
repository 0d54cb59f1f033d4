"""What several test files share."""

import os
import shutil
import signal

import numpy as np
import pytest
from small import few_images, tiny_classifier

from pytorch_vision.data import ImageData, load_data
from pytorch_vision.models import Classifier

# Where the tests run in the background or under nohup, signals are ignored, by us and by what we
# start; the tests that send one need it.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)


@pytest.fixture(scope="session")
def sample() -> ImageData:
    return load_data("sample")


@pytest.fixture(scope="session")
def few() -> ImageData:
    return few_images()


@pytest.fixture
def tiny(few) -> Classifier:
    return tiny_classifier(few)


@pytest.fixture(scope="module")
def browser():
    """Chromium, whose camera films a test picture; required in CI, skipped where there is none."""
    from playwright.sync_api import sync_playwright  # here, as tests on a lent GPU go without it

    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        assert not os.environ.get("CI"), "CI needs Chromium"
        pytest.skip("there is no Chromium or Chrome here")
    camera = [f"--use-fake-{one}-for-media-stream" for one in ("device", "ui")]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", *camera])
        yield browser
        browser.close()


@pytest.fixture
def position() -> np.ndarray:
    """One image whose pixel at (row, column) is (8 * row, 8 * column, 255): position as colour."""
    rows, columns = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    return np.stack([8 * rows, 8 * columns, np.full((32, 32), 255)], axis=-1).astype(np.uint8)
