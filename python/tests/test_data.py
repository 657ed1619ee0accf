"""Data sets by name, as arrays."""

import numpy as np
import pytest

import capscl
from conftest import make_images
from test_model import write_idx


def test_files(tmp_path):
    images, labels = make_images(30)
    write_idx(tmp_path / "set", images, labels)
    for split in ("train", "test"):
        data = capscl.open_data(tmp_path / "set", split)
        assert np.array_equal(data.images, images) and np.array_equal(data.labels, labels)
        assert data.class_names is None and data.images.dtype == np.uint8
    few = capscl.open_data(tmp_path / "set", limit=7)
    assert few.images.shape == (7, 1, 12, 12) and few.labels.shape == (7,)
    few.images[0] = 0  # the caller's own


def test_pairs(tmp_path):
    images, labels = make_images(30)
    write_idx(tmp_path / "set", images, labels)
    data = capscl.open_data(f"multi:{tmp_path / 'set'}", "test", limit=9)
    assert data.images.shape == (9, 1, 20, 20) and data.images.dtype == np.float32
    assert data.labels.shape == (9, 2) and (data.labels[:, 0] != data.labels[:, 1]).all()
    assert 0 <= data.images.min() and data.images.max() <= 1


def test_solids():
    data = capscl.open_data("solids:3", "test", limit=4)
    assert data.images.dtype == np.float32 and data.labels.shape == (4,) and data.class_names
    assert np.allclose(data.images.mean((1, 2, 3)), 0, atol=1e-4)


def test_refused(tmp_path):
    for name, split, words in [("no-such-set", "train", "no-such-set"),
                               (tmp_path, "train", "holds no data set"),
                               ("solids:3", "all", "need one of train, test")]:
        with pytest.raises(capscl.Error, match=words):
            capscl.open_data(name, split)
