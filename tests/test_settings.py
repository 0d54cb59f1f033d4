import pytest

from pytorch_vision.settings import Settings, default_batch_size, default_data, default_output


def test_the_environment_overrides_constants(monkeypatch):
    monkeypatch.setenv("T9_EPOCHS", "3")
    monkeypatch.setenv("T9_DATA", "2000")
    monkeypatch.setenv("T9_OUTPUT", "")
    settings = Settings.from_environment("T9_", data="full", epochs=20, seed=7, output="pictures")
    assert (settings.data, settings.epochs, settings.seed) == ("2000", 3, 7)
    assert settings.output == "pictures"


def test_what_is_left_open_follows_from_the_data():
    chosen = Settings()
    assert chosen.data == default_data()
    assert chosen.batch_size == default_batch_size(chosen.data)
    assert Settings("full").output == "."
    assert Settings("full", batch_size=64).batch_size == 64


@pytest.mark.parametrize("value", ["three", "1.5", "1e3", "--2"])
def test_a_value_that_is_no_whole_number_is_named(monkeypatch, value):
    monkeypatch.setenv("T9_EPOCHS", value)
    with pytest.raises(ValueError, match=f"T9_EPOCHS is '{value}', expected a whole number"):
        Settings.from_environment("T9_")


def test_an_unknown_setting_is_named(monkeypatch):
    monkeypatch.setenv("T9_EPOCH", "3")
    with pytest.raises(ValueError, match="T9_EPOCH is not a setting; these are: T9_DATA, T9_EPO"):
        Settings.from_environment("T9_")


def test_an_unknown_order_is_named_before_anything_is_trained():
    with pytest.raises(ValueError, match="order is 'last', expected 'first', 'confident'"):
        Settings(order="last")


def test_devices_are_a_number_or_all(monkeypatch):
    assert Settings().devices == 1
    for text, devices in (("2", 2), ("auto", "auto"), ("", 1)):
        monkeypatch.setenv("T9_DEVICES", text)
        assert Settings.from_environment("T9_").devices == devices
    for text in ("0", "two", "-1"):
        with pytest.raises(ValueError, match=f"devices is '{text}', expected a number from 1 on"):
            Settings(devices=text)


def test_a_sample_does_not_overwrite_the_real_pictures():
    assert default_output("full") == "."
    assert default_output("sample") == "runs/sample"
    assert default_output("full", "pretrained") == "runs/full"
    assert Settings("full", weights="pretrained").output == "runs/full"


def test_small_sets_get_small_batches():
    assert default_batch_size("sample") == default_batch_size("5000") == 32
    assert default_batch_size("full") == default_batch_size("5001") == 512


@pytest.mark.parametrize("default", [default_output, default_batch_size, Settings])
def test_there_is_no_default_for_unknown_data(default):
    with pytest.raises(ValueError, match=r"data is '\.\./elsewhere', expected 'full'"):
        default("../elsewhere")
