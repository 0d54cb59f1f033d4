import pytest

from pytorch_vision.settings import Environment, default_batch_size, default_plots


def test_the_environment_overrides_defaults(monkeypatch):
    monkeypatch.setenv("T9_EPOCHS", "3")
    monkeypatch.setenv("T9_DATA", "sample")
    monkeypatch.setenv("T9_PLOTS", "")
    settings = Environment("T9_")
    assert settings.get("EPOCHS", 20) == 3
    assert settings.get("DATA", "full") == "sample"
    assert settings.get("PLOTS", "plots") == "plots"
    assert settings.get("SEED", 0) == 0
    settings.check()


@pytest.mark.parametrize("value", ["three", "1.5", "1e3", "--2"])
def test_a_value_that_is_no_whole_number_is_named(monkeypatch, value):
    monkeypatch.setenv("T9_EPOCHS", value)
    with pytest.raises(ValueError, match=f"T9_EPOCHS is '{value}', expected a whole number"):
        Environment("T9_").get("EPOCHS", 20)


def test_an_unknown_setting_is_named(monkeypatch):
    monkeypatch.setenv("T9_EPOCH", "3")
    settings = Environment("T9_")
    settings.get("EPOCHS", 20)
    with pytest.raises(ValueError, match="T9_EPOCH is not a setting; these are: T9_EPOCHS"):
        settings.check()


def test_a_sample_does_not_overwrite_the_real_pictures():
    assert default_plots("full") == "plots"
    assert default_plots("sample") != "plots" != default_plots("2000")


def test_small_sets_get_small_batches():
    assert default_batch_size("sample") == default_batch_size("5000") == 32
    assert default_batch_size("full") == default_batch_size("5001") == 512


@pytest.mark.parametrize("default", [default_plots, default_batch_size])
def test_there_is_no_default_for_unknown_data(default):
    with pytest.raises(ValueError, match=r"data is '\.\./elsewhere', expected 'full'"):
        default("../elsewhere")
