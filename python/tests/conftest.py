"""What the tests share: made-up images, a small network, a place for kernels."""

import os
import tempfile

import numpy as np
import pytest

os.environ.setdefault("CAPSCL_CACHE", os.path.join(tempfile.gettempdir(), "capscl-python-tests"))

import capscl  # noqa: E402

SPEC = {
    "input": [1, 12, 12],
    "classes": 4,
    "conv1": {"channels": 16, "kernel": 5, "stride": 1},
    "primary": {"types": 4, "dim": 4, "kernel": 3, "stride": 2},
    "class_caps": {"dim": 8, "iterations": 3},
    "decoder": {"hidden": [32]},
}


def make_images(n, seed=0, channels=1):
    """Strokes in four directions: uint8 [n, channels, 12, 12], labels [n]."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 50, (n, channels, 12, 12)).astype(np.uint8)
    labels = np.arange(n) % 4
    along = np.arange(8)
    for i, label in enumerate(labels):
        y, x = draw.integers(0, 5, 2)
        if label == 0:
            images[i, :, y + 4, x + along] = 255
        elif label == 1:
            images[i, :, y + along, x + 4] = 255
        elif label == 2:
            images[i, :, y + along, x + along] = 255
        else:
            images[i, :, y + along, x + 7 - along] = 255
    return images, labels


@pytest.fixture(scope="session")
def data():
    return make_images(400)


@pytest.fixture(scope="session")
def trained(data):
    images, labels = data
    return capscl.train(
        images, labels, SPEC, epochs=25, lr=0.003, augment="none", batch=20, progress=False,
        class_names=["dash", "pole", "fall", "rise"])


@pytest.fixture
def model(trained, tmp_path):
    """A model of the test's own."""
    trained.save(tmp_path / "m.safetensors")
    return capscl.load(tmp_path / "m.safetensors")


def pytest_terminal_summary(terminalreporter):
    """For scripts/test: how many were tested, and how many failed."""
    folder = os.environ.get("CAPSCL_TEST_COUNTS")
    if folder:
        found = {k: len(v) for k, v in terminalreporter.stats.items()}
        bad = found.get("failed", 0) + found.get("error", 0)
        with open(os.path.join(folder, "check_python"), "w") as file:
            file.write(f"{found.get('passed', 0) + bad} {bad}\n")
