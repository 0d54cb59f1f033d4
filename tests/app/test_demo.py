"""The page to try a classifier on, in a real browser."""

import re
import socket
import sys
import urllib.request
from pathlib import Path

import gradio
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from small import tiny_classifier
from torch import nn

from pytorch_vision.app.commands import main
from pytorch_vision.app.demo import launch_demo
from pytorch_vision.models import Classifier

NAMES = ("<img src=x onerror=alert(1)>", *"bcdefghij")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def opened(browser, classifier: Classifier, **options: object) -> Page:
    """The page of a classifier, in a browser that reaches this machine alone."""
    port = free_port()
    launch_demo(classifier, server_port=port, prevent_thread_lock=True, quiet=True, **options)
    page = browser.new_page()
    page.on("dialog", lambda dialog: pytest.fail(f"a name became code: {dialog.message}"))
    page.route(re.compile(rf"^https?://(?!127\.0\.0\.1:{port}/)"), lambda asked: asked.abort())
    page.goto(f"http://127.0.0.1:{port}/")
    expect(page.get_by_text("Drop Image Here")).to_be_visible(timeout=60_000)
    return page


@pytest.fixture(scope="module")
def page(browser, sample):
    """The page of a network with maps, whose first class has a name that is code."""
    yield opened(browser, tiny_classifier(sample, class_names=NAMES, description=NAMES[0]))
    gradio.close_all()


def answered(page: Page, path: Path, sentence: str) -> None:
    """Upload a file, and wait for what the page says of it."""
    page.locator("input[type=file]").set_input_files(path)
    expect(page.locator("textarea")).to_have_value(re.compile(sentence), timeout=60_000)


def shares(page: Page) -> list[str]:
    return re.findall(r"\d+%", page.locator("body").inner_text())


def test_a_picture_gets_classes_and_where_the_network_looked(page, tmp_path):
    assert NAMES[0] in page.locator("textarea").input_value()
    Image.new("LA", (70, 50), (128, 128)).save(tmp_path / "grey.png")
    told = "transparency (the alpha band) is composited over white or black"
    grey = f"70x50 pixels, mode LA; {told}; its central 50x50 pixels"
    answered(page, tmp_path / "grey.png", re.escape(grey))
    assert len(shares(page)) == 5
    maps = page.locator("img[src*='file=']").last
    expect(maps).to_be_visible()
    assert maps.evaluate("one => one.decode().then(() => one.naturalWidth)") > 600
    page.get_by_label("Remove Image").click()
    expect(page.locator("textarea")).to_have_value(re.compile("Drop a picture"))
    assert shares(page) == []


def test_the_camera_takes_a_picture(page):
    page.reload()
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('video')?.readyState >= 3")  # it has a frame
    page.get_by_label("capture photo").click()
    expect(page.locator("textarea")).to_have_value(re.compile("pixels, mode RGB"), timeout=60_000)
    assert len(shares(page)) == 5


@pytest.mark.parametrize(
    ("name", "write", "sentence"),
    [
        ("bomb.png", lambda path: Image.new("1", (20_000, 20_000)).save(path), "is too large"),
        ("text.png", lambda path: path.write_bytes(b"#!/bin/sh"), "not an image that Pillow"),
        ("picture.svg", lambda path: path.write_bytes(b"<svg/>"), "not an image that Pillow"),
        ("broken.png", lambda path: Image.new("L", (9, 9)).save(path, "GIF"), "9x9 pixels"),
    ],
)
def test_what_is_no_picture_gets_a_sentence(page, tmp_path, name, write, sentence):
    page.reload()
    write(tmp_path / name)
    answered(page, tmp_path / name, sentence)
    assert bool(shares(page)) == (sentence == "9x9 pixels")


def test_a_network_without_maps_shows_classes_alone_and_large_files_are_refused(
    browser, few, tmp_path
):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    page = opened(browser, Classifier(network, few), max_file_size=1000)
    Image.new("RGB", (40, 40)).save(tmp_path / "small.png")
    answered(page, tmp_path / "small.png", "resized to 32x32\nNo map: ")
    assert len(shares(page)) == 5
    page.reload()
    (tmp_path / "large.png").write_bytes(bytes(2000))
    page.locator("input[type=file]").set_input_files(tmp_path / "large.png")
    expect(page.get_by_text("exceed the maximum allowed size")).to_be_visible()
    gradio.close_all()


def test_the_command_serves_this_machine_alone(few, tmp_path, monkeypatch):
    Classifier("CustomResNet", few).save(tmp_path / "weights.safetensors")
    port, seen = free_port(), []

    def look(page: gradio.Blocks) -> None:
        """Do what a browser does, where the command would wait for Ctrl-C."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            seen.append(answer.status)
        with pytest.raises(ConnectionRefusedError):  # as on this machine's other addresses
            socket.create_connection(("127.0.0.2", port))
        page.close()

    monkeypatch.setattr(gradio.Blocks, "block_thread", look)
    weights = str(tmp_path / "weights.safetensors")
    assert main(["serve", "--weights", weights, "--port", str(port)]) == 0
    assert seen == [200]
    with socket.create_server(("127.0.0.1", port)):
        assert main(["serve", "--weights", weights, "--port", str(port)]) == 1


def test_without_gradio_the_command_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "pytorch_vision.app.demo")
    assert main(["serve"]) == 1
    assert capsys.readouterr().err == (
        "error: the page needs gradio, which is not installed here: pip install 'gradio>=6'\n"
    )
