"""Capsule networks on any OpenCL device: Python over libcapscl.

    >>> import capscl
    >>> model = capscl.load("run/model.safetensors")    # doctest: +SKIP
    >>> model.predict(images).labels                    # doctest: +SKIP

Images are NumPy arrays [N, C, H, W] or [N, H, W], uint8 or floats from 0 to 1. Whatever fails is a
`capscl.Error` of one line. docs/python.md is the tour.

Threads: functions may be called from any; a `Model` serves one at a time (it has a lock), different
ones run side by side, and long calls release the interpreter's lock. Ctrl-C ends `train` after the
step, and `predict` after the batch. After `os.fork` a child must not use what its parent opened.
"""

from typing import Any

from ._data import Data, open_data
from ._device import Device, devices
from ._error import Error
from ._convert import export_onnx, from_torch, to_torch
from ._model import Model, Prediction, Routing, load
from ._spec import builtin_names
from ._train import train
from ._version import __version__

__all__ = [
    "Data", "Device", "Error", "Model", "Prediction", "Routing", "__version__", "builtin_names",
    "devices", "export_onnx", "from_torch", "load", "open_data", "to_torch", "train",
]


def __getattr__(name: str) -> Any:
    """`capscl.torch` is imported when it is asked for, as it needs torch."""
    if name == "torch":
        import importlib

        return importlib.import_module("capscl.torch")
    raise AttributeError(f"module 'capscl' has no attribute '{name}'")
