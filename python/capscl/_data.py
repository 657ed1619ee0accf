"""Data sets as the program knows them, as arrays."""

from __future__ import annotations

import ctypes as c
from typing import Any, List, NamedTuple, Optional, Sequence

import numpy as np

from . import _structs as s
from ._error import Error
from ._library import call, lib, path_bytes

_SPLITS = ("train", "test", "validation")


class Data(NamedTuple):
    """Labelled images.

    Attributes:
        images: uint8 [N, C, H, W]; float32 of sets whose images are standardised or drawn in pairs.
        labels: uint8 [N]; int32 [N, 2] of pairs.
        class_names: J names, or None.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: Optional[List[str]]


def open_data(
    name: Any,
    split: str = "train",
    *,
    limit: Optional[int] = None,
    size: Optional[Sequence[int]] = None,
) -> Data:
    """Reads a data set, of any format that `capscl train --data` takes (docs/data.md).

    Args:
        name: a directory, or a name that is looked for in $CAPSCL_DATA, $XDG_DATA_HOME/capscl and
            /usr/share/datasets: "fashion-mnist", "mnist", ...; "multi:NAME" for pairs,
            "solids:SEED" for rendered solids.
        split: "train", "test" or "validation".
        limit: the first so many images; None: all.
        size: (C, H, W) that files of pictures are converted to; None: as the first picture is.

    Returns:
        Data: images, labels, class_names.

    Raises:
        capscl.Error: there is no such set or split, or it is damaged.
    """
    if split not in _SPLITS:
        raise Error(f"split: is '{split}', need one of {', '.join(_SPLITS)}")
    channels, height, width = size or (0, 0, 0)
    options = s.caps_dataset_options(
        split=_SPLITS.index(split), limit=limit or 0, channels=channels, height=height, width=width)
    found = s.caps_dataset()
    call("caps_dataset_open", c.byref(found), path_bytes(name), c.byref(options))
    try:
        names = None
        if found.class_names:
            texts = c.cast(found.class_names, c.POINTER(c.c_char_p))
            names = [texts[j].decode(errors="replace") for j in range(found.classes)]
        if found.pairs or found.standardised:
            return _drawn(found, names)
        shape = (found.n, found.channels, found.height, found.width)
        images = np.frombuffer(c.string_at(found.images, int(np.prod(shape))), np.uint8)
        labels = np.frombuffer(c.string_at(found.labels, found.n), np.uint8)
        return Data(images.reshape(shape).copy(), labels.copy(), names)
    finally:
        lib.caps_dataset_release(c.byref(found))


def _drawn(found: s.caps_dataset, names: Optional[List[str]]) -> Data:
    """One by one, as a network is to see them."""
    chw = (s.size_t * 3)()
    call("caps_dataset_view_size", c.byref(found), 0, chw)
    images = np.empty((found.n,) + tuple(chw), np.float32)
    labels = np.empty((found.n, found.labels_per_image), np.int32)
    for i in range(found.n):
        lib.caps_dataset_draw(
            c.byref(found), i, 0, 1, 0, images[i].ctypes.data_as(s.floats),
            labels[i].ctypes.data_as(s.int32s), None)
    return Data(images, labels[:, 0] if found.labels_per_image == 1 else labels, names)
