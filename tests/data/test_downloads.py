import shutil
import subprocess
import time

import pytest

from pytorch_vision.data import downloads


def test_a_trickle_counts_as_stalled(monkeypatch):
    monkeypatch.setattr(downloads, "STALL_SECONDS", 0.5)

    def trickle():
        for count in range(0, 100_000, 1000):
            time.sleep(0.05)
            yield count

    with pytest.raises(downloads.SourceError, match="stalled"):
        downloads._watch(trickle(), None, "test")


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_has_the_options_that_we_use():
    shown = subprocess.run(["npm", "pack", "--help"], capture_output=True, text=True)
    assert "--pack-destination" in shown.stdout
