"""Pictures as arrays."""

from __future__ import annotations

import numpy as np


def sheet(images: np.ndarray, gap: int = 2) -> np.ndarray:
    """Rows of images as one picture, `gap` grey pixels between them.

    Args:
        images: floats [rows, columns, C, H, W], 0 to 1; of C channels the mean is shown unless
            there are three.

    Returns:
        uint8 [height, width] or, of three channels, [height, width, 3].
    """
    rows, columns, channels, height, width = images.shape
    if channels not in (1, 3):
        images = images.mean(axis=2, keepdims=True)
        channels = 1
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, channels)
    out = np.full(shape, 128, np.uint8)
    pixels = np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)
    for y in range(rows):
        for x in range(columns):
            top, left = y * (height + gap), x * (width + gap)
            out[top : top + height, left : left + width] = pixels[y, x].transpose(1, 2, 0)
    return out[:, :, 0] if channels == 1 else out
