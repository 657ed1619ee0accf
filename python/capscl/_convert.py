"""To PyTorch and back, and to ONNX."""

from __future__ import annotations

import ctypes as c
from typing import Any, Dict, Mapping, Optional, Union

import numpy as np

from . import _structs as s
from ._device import Runtime
from ._error import Error
from ._library import call, lib, path_bytes
from ._model import DEFAULT_BATCH, Model
from ._spec import Spec, SpecLike


def _as_numpy(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a tensor of any device and type
        value = value.detach().cpu()
        if value.is_floating_point():
            value = value.float()
        value = value.numpy()
    return np.asarray(value)


def from_torch(
    state_dict: Mapping[str, Any],
    spec: SpecLike,
    *,
    device: Optional[str] = None,
    batch: int = DEFAULT_BATCH,
) -> Model:
    """A model of PyTorch's parameters. Does not need torch where the values are arrays.

    Args:
        state_dict: names to tensors (or arrays), with exactly the names and shapes that the network
            has (docs/checkpoint-format.md): `conv1.weight` [C1, C, k, k], `class_caps.weight`
            [I, J, D, K], ... `num_batches_tracked` of batch normalisation is left out.
        spec: a built-in name, the path of a JSON file, or a dict like one.
        device, batch: as `capscl.load` has them.

    Returns:
        Model

    Raises:
        capscl.Error: a name that is missing or that the network does not have, another shape, a
            spec that cannot be built.
    """
    given = {
        name: _as_numpy(value) for name, value in state_dict.items()
        if not name.endswith("num_batches_tracked")
    }
    model = Model._from_spec(Spec.read(spec), Runtime(device), batch)
    missing = [name for name in model.parameters() if name not in given]
    if missing:
        raise Error(f"state dict: has no {', '.join(missing)}", "CAPS_ERR_MISMATCH")
    model.set_parameters(given)
    return model


def to_torch(model: Model) -> Dict[str, Any]:
    """A model's parameters as a PyTorch state dict: `Model.to_torch`. Needs torch."""
    return model.to_torch()


def export_onnx(model_or_path: Union[Model, Any], file: Any) -> None:
    """Writes a network as an ONNX file for inference.

    Input: `images`, float32 [N, C, H, W], any N. Outputs: `lengths` [N, J], `capsules` [N, J, D],
    `reconstruction` [N, C, H, W], as far as the network has them.

    Args:
        model_or_path: a Model, or the path of a checkpoint (then no device is needed).
        file: the path to write.

    Raises:
        capscl.Error: the checkpoint cannot be read; the file cannot be written.
    """
    if isinstance(model_or_path, Model):
        with model_or_path._runtime.lock:
            call("caps_model_export_onnx", model_or_path._handle, path_bytes(file))
        return
    checkpoint = s.caps_checkpoint()  # needs no device
    try:
        call("caps_checkpoint_load", c.byref(checkpoint), path_bytes(model_or_path), None)
        call("caps_onnx_write", path_bytes(file), checkpoint.spec, checkpoint.parameters)
    finally:
        lib.caps_checkpoint_release(c.byref(checkpoint))
