"""Images and labels of the caller as the library takes them."""

from __future__ import annotations

import warnings
from typing import Any, Optional, Sequence, Tuple

import numpy as np

from ._error import Error


def _as_array(values: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except Exception as error:
        raise Error(f"{name}: is no array: {error}") from None
    if array.dtype == object:
        raise Error(f"{name}: is no array of numbers (its parts differ in shape?)")
    return array


def _sized(array: np.ndarray, chw: Optional[Sequence[int]]) -> np.ndarray:
    """[N, C, H, W] of [N, H, W] or [N, C, H, W], the sizes checked against those of a network."""
    shape = "x".join(map(str, array.shape))
    want = "N,H,W or N,C,H,W" if chw is None else f"N,{','.join(map(str, chw))}"
    if chw is not None and chw[0] == 1:
        want += f" or N,{chw[1]},{chw[2]}"
    if array.ndim == 3:
        array = array[:, np.newaxis]
    fits = array.ndim == 4 and 0 not in array.shape[1:]
    if not fits or (chw is not None and array.shape[1:] != tuple(chw)):
        raise Error(f"images: are an array of {shape}, need {want}", "CAPS_ERR_MISMATCH")
    return array


def float_images(images: Any, chw: Sequence[int]) -> np.ndarray:
    """float32 [N, C, H, W], contiguous: the caller's own array where it is so already."""
    array = _sized(_as_array(images, "images"), chw)
    if array.dtype == np.uint8 or array.dtype == np.bool_:
        scale = 255 if array.dtype == np.uint8 else 1
        return np.ascontiguousarray(array, dtype=np.float32) / np.float32(scale)
    if not np.issubdtype(array.dtype, np.floating):
        raise Error(f"images: are {array.dtype}, need uint8 (0 to 255) or floats (0 to 1)")
    array = np.ascontiguousarray(array, dtype=np.float32)
    _check_values(array)
    return array


def _check_values(array: np.ndarray) -> None:
    if array.size == 0:
        return
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Error("images: have values that are not finite")
    # Standardised images go beyond 1, but not so far.
    if high > 100:
        raise Error(
            f"images: are floats up to {high:g}, need 0 to 1 (uint8 is divided by 255)")


def byte_images(images: Any) -> np.ndarray:
    """uint8 [N, C, H, W], contiguous, as training keeps images. Floats are rounded."""
    array = _sized(_as_array(images, "images"), None)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return np.ascontiguousarray(array, dtype=np.uint8) * np.uint8(255)
    if not np.issubdtype(array.dtype, np.floating):
        raise Error(f"images: are {array.dtype}, need uint8 (0 to 255) or floats (0 to 1)")
    if array.size:
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise Error(f"images: are floats from {low:g} to {high:g}, need 0 to 1")
    scaled = array * 255.0
    rounded = np.rint(scaled)
    if array.size and float(np.abs(scaled - rounded).max()) > 1e-3:
        warnings.warn(
            "images: training keeps 8 bits of a pixel; floats were rounded to multiples of 1/255",
            stacklevel=3,
        )
    return np.ascontiguousarray(rounded, dtype=np.uint8)


def byte_labels(labels: Any, n: int) -> np.ndarray:
    """uint8 [N], of any integers 0 to 255."""
    array = _as_array(labels, "labels")
    if array.ndim != 1 or array.shape[0] != n:
        shape = "x".join(map(str, array.shape))
        raise Error(f"labels: are an array of {shape}, need {n}, one for each image",
                    "CAPS_ERR_MISMATCH")
    if not (np.issubdtype(array.dtype, np.integer)):
        raise Error(f"labels: are {array.dtype}, need integers")
    if n and (int(array.min()) < 0 or int(array.max()) > 255):
        raise Error(f"labels: are {array.min()} to {array.max()}, need 0 to 255")
    return np.ascontiguousarray(array, dtype=np.uint8)


def copy_out(pointer: Any, shape: Tuple[int, ...]) -> Optional[np.ndarray]:
    """A copy of an array of the library; None where it is NULL."""
    if not pointer:
        return None
    return np.ctypeslib.as_array(pointer, shape=shape).copy()
