"""The page of errors, opened in a real browser."""

import base64
import html
import io
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from small import tiny_classifier
from torch import nn

from pytorch_vision.analysis import (
    Predictions,
    correctly_classified,
    grad_cam,
    misclassified,
    removal,
    write_report,
)
from pytorch_vision.analysis.calibration import describe_scaling
from pytorch_vision.analysis.faithfulness import baseline_maps, describe_removal
from pytorch_vision.analysis.galleries import overlay
from pytorch_vision.models import Classifier

CORRECT = 20  # of the correct answers are on the page too


@pytest.fixture(scope="module")
def predictions(sample) -> Predictions:
    """Test images with probabilities of which about a quarter are wrong."""
    random, count = np.random.default_rng(0), 250
    labels = sample.test_labels[:count]
    logits = random.normal(size=(count, 10))
    logits[np.arange(count), labels] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(
        images=sample.test_images[:count],
        labels=labels,
        probabilities=probabilities.astype(np.float32),
        indices=np.arange(count),
        class_names=sample.class_names,
    )


def write(folder: Path, predictions: Predictions, classifier: Classifier, count: int = 0) -> str:
    """Return the page of some predictions, with so many correct answers."""
    write_report(classifier, predictions, folder / "new" / "errors.html", count)
    assert os.listdir(folder / "new") == ["errors.html"]
    return (folder / "new" / "errors.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        assert not os.environ.get("CI"), "CI needs Chromium"
        pytest.skip("there is no Chromium or Chrome here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def path(sample, predictions, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write(folder, predictions, tiny_classifier(sample), CORRECT)
    return folder / "new" / "errors.html"


@pytest.fixture(scope="module")
def tab(browser) -> Page:
    return browser.new_context(offline=True).new_page()


@pytest.fixture
def page(tab, path):
    """The page just opened; afterwards, that nothing was complained about or asked for."""
    tab.set_viewport_size({"width": 1200, "height": 1000})
    complaints, requests = [], []
    listeners = {
        "console": lambda message: complaints.append(message.text),
        "pageerror": lambda error: complaints.append(str(error)),
        "request": lambda request: requests.append(request.url),
    }
    for event, listener in listeners.items():
        tab.on(event, listener)
    tab.goto("about:blank")  # from the page itself, another fragment would not open it anew
    tab.goto(path.as_uri())
    yield tab
    for event, listener in listeners.items():
        tab.remove_listener(event, listener)
    assert complaints == []
    asked_for = {url.partition("#")[0] for url in requests if not url.startswith("data:")}
    assert asked_for - {"about:blank"} == {path.as_uri()}


def shown(page: Page) -> list[dict[str, str]]:
    """Return what each visible card says of itself, in the order on the screen."""
    cards = page.locator("#gallery > li:visible")
    return cards.evaluate_all("cards => cards.map(card => ({...card.dataset}))")


def test_it_opens_with_every_error_in_test_order(page, predictions):
    errors = misclassified(predictions)
    assert [int(card["index"]) for card in shown(page)] == errors.indices.tolist()
    assert page.locator("#shown").inner_text() == f"{len(errors)} shown"
    assert f"{len(errors)} of 250 test images" in page.locator("header").inner_text()
    assert page.locator("img").evaluate_all("all => all.every(img => img.naturalWidth === 32)")
    assert page.locator("th.axis").all_inner_texts() == ["Predicted class", "True class"]


def test_a_card_tells_both_classes_with_their_probabilities(page, predictions):
    errors = misclassified(predictions)
    label, predicted = errors.labels[0], errors.predicted[0]
    text = page.locator("#gallery > li:visible").first.inner_text()
    for kind, chosen in {"true": label, "predicted": predicted}.items():
        probability = 100 * errors.probabilities[0, chosen]
        assert f"{kind}: {errors.class_names[chosen]}, {probability:.1f}\N{NO-BREAK SPACE}%" in text


def test_filters_show_what_they_say(page, predictions):
    errors = misclassified(predictions)
    page.select_option("#true", label="cat")
    assert len(shown(page)) == (errors.labels == 3).sum() > 0
    page.select_option("#predicted", label="dog")
    both = (errors.labels == 3) & (errors.predicted == 5)
    assert [int(card["index"]) for card in shown(page)] == errors.indices[both].tolist()
    page.select_option("#true", label="any")
    assert len(shown(page)) == (errors.predicted == 5).sum()
    page.get_by_role("button", name="Show all errors").click()
    page.wait_for_function(f"document.querySelectorAll('li:not([hidden])').length == {len(errors)}")


def test_correct_answers_are_a_filter_away(page, predictions):
    correct = correctly_classified(predictions, CORRECT, "spread")
    page.select_option("#answers", label="correctly classified")
    assert [int(card["index"]) for card in shown(page)] == correct.indices.tolist()
    assert page.locator("#gallery > li:visible").first.locator("img").count() == 2
    page.select_option("#answers", label="both")
    assert len(shown(page)) == len(misclassified(predictions)) + CORRECT
    page.select_option("#true", label="cat")
    wanted = (misclassified(predictions).labels == 3).sum() + (correct.labels == 3).sum()
    assert len(shown(page)) == wanted


def test_the_address_keeps_what_is_chosen(page, path, predictions):
    page.select_option("#true", label="cat")
    page.select_option("#order", label="most confident first")
    assert page.evaluate("location.hash") == "#true=3&order=-confidence"
    before = shown(page)
    page.goto("about:blank")
    page.goto(path.as_uri() + "#true=3&order=-confidence")
    assert shown(page) == before
    assert page.locator("#true").input_value() == "3"
    page.evaluate("location.hash = '#answers=right&true=999&unknown=1'")
    page.wait_for_function("document.getElementById('answers').value === 'right'")
    assert len(shown(page)) == CORRECT
    page.goto(path.as_uri())


def test_an_image_opens_large(page):
    card = page.locator("#gallery > li:visible").nth(1)
    card.locator("img").first.click()
    large = page.locator("#large")
    assert large.is_visible()
    assert large.locator("img").count() == 3
    assert large.locator("img").first.bounding_box()["width"] >= 200
    assert large.locator("h3").inner_text() == card.locator("h3").inner_text()
    page.keyboard.press("Escape")
    assert not large.is_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert large.is_visible()
    large.get_by_role("button", name="Close").click()
    assert not large.is_visible()


@pytest.mark.parametrize("width", [400, 1200])
def test_controls_stay_in_view_and_nothing_sticks_out(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#gallery > li:visible").last.scroll_into_view_if_needed()
    controls = page.locator(".controls").bounding_box()
    assert controls["y"] == pytest.approx(0, abs=1)
    assert controls["height"] < 0.3 * 800
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    focused = page.evaluate("document.activeElement.getBoundingClientRect().top")
    assert focused >= controls["height"] - 1  # not hidden below them
    for label in ("Answers", "True class", "Predicted class", "Order"):
        assert page.get_by_label(label, exact=True).bounding_box()["width"] >= 100


def test_sorting_orders_them(page, predictions):
    page.select_option("#order", label="most confident first")
    confident = misclassified(predictions, order="confident")
    assert [int(card["index"]) for card in shown(page)] == confident.indices.tolist()
    page.select_option("#order", label="least confident first")
    values = [float(card["confidence"]) for card in shown(page)]
    assert values == sorted(values)
    page.select_option("#order", label="test order")
    assert [int(c["index"]) for c in shown(page)] == misclassified(predictions).indices.tolist()


def test_a_matrix_cell_opens_its_errors(page, predictions):
    errors = misclassified(predictions)
    label, predicted = errors.labels[0], errors.predicted[0]
    wanted = (errors.labels == label) & (errors.predicted == predicted)
    names = predictions.class_names
    name = f"{wanted.sum()} of true class {names[label]} predicted as {names[predicted]}"
    cell = page.get_by_role("button", name=name, exact=True)
    cell.click()
    assert [int(card["index"]) for card in shown(page)] == errors.indices[wanted].tolist()
    assert cell.get_attribute("aria-pressed") == "true"
    assert page.locator("#true").input_value() == str(label)
    cell.click()
    assert len(shown(page)) == len(errors)


def test_arrow_keys_go_from_card_to_card(page):
    def focused() -> str:
        return page.evaluate("document.activeElement.dataset.index")

    order = [card["index"] for card in shown(page)]
    for key, place in {
        "ArrowRight": 0,
        "ArrowDown": 3,  # three cards a row at this width
        "ArrowLeft": 2,
        "ArrowUp": 0,
        "End": len(order) - 1,
        "Home": 0,
    }.items():
        page.keyboard.press(key)
        assert focused() == order[place], key
    assert page.locator("#gallery > li[tabindex='0']").count() == 1


def test_every_image_and_control_has_a_name(page):
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    for name in ("True class", "Predicted class", "Order"):
        assert page.get_by_label(name, exact=True).count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_in_light_and_dark(page, scheme):
    """The contrast that WCAG 2.1 asks of text: 4.5, for the body and for each class of it."""
    page.emulate_media(color_scheme=scheme)
    contrasts = page.evaluate(
        """() => [...document.querySelectorAll("p, h1, label, th, td, figcaption, h3")].map(e => {
          const parse = text => text.match(/[\\d.]+/g).map(Number);
          const luminance = rgb => rgb.slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          let ground = e;
          while (parse(getComputedStyle(ground).backgroundColor)[3] === 0)
            ground = ground.parentElement;
          const levels = [getComputedStyle(e).color, getComputedStyle(ground).backgroundColor]
            .map(parse).map(luminance).sort();
          return (levels[1] + 0.05) / (levels[0] + 0.05);
        })"""
    )
    assert min(contrasts) >= 4.5


def test_500_errors_stay_under_15_mb(sample, tmp_path):
    """Even with noise for images and for maps, which no compression makes smaller."""
    layers = nn.Conv2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 10)
    images = np.random.default_rng(0).integers(0, 256, (500, 32, 32, 3), np.uint8)
    labels = np.arange(500) % 10
    probabilities = np.eye(10, dtype=np.float32)[(labels + 1) % 10]
    noise = Predictions(images, labels, probabilities, np.arange(500), sample.class_names)
    page = write(tmp_path, noise, Classifier(nn.Sequential(*layers), sample))
    assert page.count("<li ") == 500
    assert len(page.encode()) <= 15_000_000


def test_names_are_text_not_markup(sample, tmp_path, predictions):
    names = ("<b>bold</b>", *sample.class_names[1:])
    some = replace(predictions.select(np.arange(30)), class_names=names)
    page = write(tmp_path, some, tiny_classifier(sample, description="<script>alert(1)</script>"))
    assert "<b>bold" not in page
    assert "<script>alert" not in page
    assert "&lt;b&gt;bold" in page
    assert "&lt;script&gt;alert" in page


def test_no_error_is_said(sample, tmp_path, predictions):
    page = write(tmp_path, correctly_classified(predictions), tiny_classifier(sample), 3)
    assert "There is no error to show" in page
    assert page.count("<li ") == 3
    assert "How far to believe the maps" not in page


def test_the_page_says_what_the_parts_of_analysis_say(sample, tmp_path, predictions, capsys):
    classifier, some = tiny_classifier(sample), predictions.select(np.arange(40))
    page = write(tmp_path, some, classifier, 3)
    assert "100%" in capsys.readouterr().out  # a bar
    errors, correct = misclassified(some), correctly_classified(some, 3, "spread")
    assert page.count("<li ") == len(errors) + len(correct)
    assert f"<h1>Errors of {classifier}</h1>" in page
    maps = grad_cam(classifier, errors.images, errors.predicted)
    both = {"map": maps, "random": baseline_maps(errors.images)["random"]}
    removals = removal(classifier, errors.images, errors.predicted, both, (0.3,))
    note = describe_removal(removals["map"], removals["random"])
    assert f"How far to believe the maps: {html.escape(note)}</p>" in page
    scaling = html.escape(describe_scaling(some))
    assert f"How far to believe the probabilities: {scaling}</p>" in page
    ways = {
        "predicted": (errors.images[0], maps[0]),
        "true": (errors.images[0], grad_cam(classifier, errors.images, errors.labels)[0]),
        "correct": (correct.images[0], grad_cam(classifier, correct.images, correct.labels)[0]),
    }
    pictures = re.findall(r'img src="([^"]+)" alt="Grad-CAM map', page)
    drawn = dict(zip(ways, (pictures[0], pictures[1], pictures[-len(correct)]), strict=True))
    for name, picture in drawn.items():
        content = io.BytesIO(base64.b64decode(picture.partition(",")[2]))
        expected = 255 * overlay(*ways[name])
        np.testing.assert_allclose(np.asarray(Image.open(content)), expected, atol=2, err_msg=name)


def test_one_prediction_has_no_calibration(sample, tmp_path, predictions):
    page = write(tmp_path, misclassified(predictions, 1), tiny_classifier(sample))
    assert "How far to believe the maps" in page
    assert "How far to believe the probabilities" not in page
