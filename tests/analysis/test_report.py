"""The page of errors, opened in a real browser."""

import html
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, sync_playwright

from pytorch_vision.analysis import (
    Predictions,
    correctly_classified,
    describe_scaling,
    error_page,
    grad_cam,
    make_report,
    misclassified,
    predict,
    write_page,
)
from pytorch_vision.models import ResNet

RIGHT = 20  # of the right answers are on the page too


def some_predictions(data, names: tuple[str, ...] | None = None) -> Predictions:
    """All test images with probabilities of which about a quarter are wrong."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(len(data.test_labels), 10))
    logits[np.arange(len(logits)), data.test_labels] += 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(
        images=data.test_images,
        labels=data.test_labels,
        probabilities=probabilities.astype(np.float32),
        indices=np.arange(len(logits)),
        class_names=names or data.class_names,
    )


def some_maps(predictions: Predictions) -> np.ndarray:
    count = len(misclassified(predictions))
    return np.random.default_rng(1).random((2, count, 32, 32), np.float32)


@pytest.fixture(scope="module")
def predictions(sample) -> Predictions:
    return some_predictions(sample)


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
def path(predictions, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "new" / "errors.html"
    right = correctly_classified(predictions, RIGHT, "spread")
    of_right = np.random.default_rng(2).random((RIGHT, 32, 32), np.float32)
    maps = some_maps(predictions)
    page = error_page(predictions, *maps, "a network", right=right, right_maps=of_right)
    write_page(path, page)
    assert os.listdir(path.parent) == ["errors.html"]
    return path


@pytest.fixture
def page(browser, path):
    """The page just opened; afterwards, that nothing was complained about or asked for."""
    context = browser.new_context(viewport={"width": 1200, "height": 1000}, offline=True)
    page = context.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    yield page
    assert complaints == []
    asked_for = {url.partition("#")[0] for url in requests if not url.startswith("data:")}
    assert asked_for == {path.as_uri()}
    context.close()


def shown(page: Page) -> list[dict[str, str]]:
    """Return what each visible card says of itself, in the order on the screen."""
    cards = page.locator("#gallery > li:visible")
    return cards.evaluate_all("cards => cards.map(card => ({...card.dataset}))")


def test_it_opens_with_every_error_in_test_order(page, predictions):
    errors = misclassified(predictions)
    assert [int(card["index"]) for card in shown(page)] == errors.indices.tolist()
    assert page.locator("#shown").inner_text() == f"{len(errors)} shown"
    assert f"{len(errors)} of 500 test images" in page.locator("header").inner_text()
    assert page.locator("img").evaluate_all("all => all.every(img => img.naturalWidth === 32)")
    assert page.locator("th.axis").all_inner_texts() == ["Predicted class", "True class"]


def test_a_card_tells_both_classes_with_their_probabilities(page, predictions):
    errors = misclassified(predictions)
    label, predicted = errors.labels[0], errors.predicted[0]
    text = page.locator("#gallery > li:visible").first.inner_text()
    for kind, chosen in {"true": label, "predicted": predicted}.items():
        probability = 100 * errors.probabilities[0, chosen]
        assert f"{kind}: {errors.class_names[chosen]}, {probability:.1f}\N{NO-BREAK SPACE}%" in text


def test_filters_show_the_right_cards(page, predictions):
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


def test_right_answers_are_a_filter_away(page, predictions):
    right = correctly_classified(predictions, RIGHT, "spread")
    page.select_option("#answers", label="right")
    assert [int(card["index"]) for card in shown(page)] == right.indices.tolist()
    assert page.locator("#gallery > li:visible").first.locator("img").count() == 2
    page.select_option("#answers", label="both")
    assert len(shown(page)) == len(misclassified(predictions)) + RIGHT
    page.select_option("#true", label="cat")
    wanted = (misclassified(predictions).labels == 3).sum() + (right.labels == 3).sum()
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
    assert len(shown(page)) == RIGHT
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


def test_500_errors_stay_under_15_mb(sample):
    """Even with noise for maps, which no compression makes smaller."""
    predictions = some_predictions(sample)
    wrong = np.roll(predictions.probabilities, 1, axis=1)
    wrong[np.arange(500), sample.test_labels] = 0
    predictions = Predictions(
        sample.test_images, sample.test_labels, wrong, np.arange(500), sample.class_names
    )
    page = error_page(predictions, *some_maps(predictions), "a network")
    assert page.count("<li ") == 500
    assert len(page.encode()) <= 15_000_000


def test_names_are_text_not_markup(sample):
    names = ("<b>bold</b>", *sample.class_names[1:])
    predictions = some_predictions(sample, names)
    page = error_page(predictions, *some_maps(predictions), "<script>alert(1)</script>")
    assert "<b>bold" not in page
    assert "<script>alert" not in page
    assert "&lt;b&gt;bold" in page


def test_no_error_is_said(predictions):
    right = predictions.select(predictions.predicted == predictions.labels)
    none = np.zeros((0, 32, 32), np.float32)
    assert "There is no error to show" in error_page(right, none, none, "a network")


def test_predictions_at_hand_are_all_that_it_needs(sample, capsys, monkeypatch):
    torch.manual_seed(0)
    model = ResNet((1, 1, 1, 1), 10, "standard")
    few = replace(sample, test_images=sample.test_images[:40], test_labels=sample.test_labels[:40])
    predictions = predict(model, few)
    page = make_report(model, predictions, few.mean_and_std, "a network", right_count=3)
    errors, right = misclassified(predictions), correctly_classified(predictions, 3, "spread")
    assert page.count("<li ") == len(errors) + len(right)
    assert "100%" in capsys.readouterr().out  # a bar
    assert html.escape(describe_scaling(predictions)) in page
    maps = grad_cam(model, errors.images, errors.predicted, few.mean_and_std)
    expected = error_page(
        predictions, maps, grad_cam(model, errors.images, errors.labels, few.mean_and_std), "t"
    )
    picture = re.search(r'img src="([^"]+)" alt="Grad-CAM map', expected)[1]
    assert picture in page


def test_maps_of_other_images_are_refused(predictions):
    maps = some_maps(predictions)
    with pytest.raises(ValueError, match=r"misclassified images, but \d+ and 1 maps"):
        error_page(predictions, maps[0], maps[1][:1], "a network")
    right = correctly_classified(predictions, 2)
    with pytest.raises(ValueError, match="there are 2 right images, but 1 maps"):
        error_page(predictions, *maps, "a network", right=right, right_maps=maps[0][:1])


def test_the_note_stands_below_the_title_and_is_escaped(predictions):
    maps = some_maps(predictions)
    page = error_page(predictions, *maps, "a network", "5 < 6", "7 < 8")
    assert '<p class="quiet">How far to believe the maps: 5 &lt; 6</p>' in page
    assert '<p class="quiet">How far to believe the probabilities: 7 &lt; 8</p>' in page
    assert "How far to believe" not in error_page(predictions, *maps, "a network")
