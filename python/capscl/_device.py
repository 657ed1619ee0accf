"""OpenCL devices, and runtimes on them."""

from __future__ import annotations

import ctypes as c
import threading
import weakref
from dataclasses import dataclass
from typing import List, Optional

from ._library import call, lib
from . import _structs as s


@dataclass(frozen=True)
class Device:
    """An OpenCL device.

    Attributes:
        id: "platform:device", as `capscl.load(path, device="0:1")` takes it.
        platform, vendor, name, version, driver: what OpenCL calls it.
        type: "gpu", "cpu", "accelerator" or "other".
        compute_units: how many.
        global_mem_bytes, max_alloc_bytes, local_mem_bytes: its memory, the largest buffer, the
            local memory of a work-group, in bytes.
        selected: it is the one that is taken where none is named.
        unusable: why it cannot be used, or "".
    """

    id: str
    platform: str
    vendor: str
    name: str
    type: str
    version: str
    driver: str
    compute_units: int
    global_mem_bytes: int
    max_alloc_bytes: int
    local_mem_bytes: int
    selected: bool
    unusable: str

    def __str__(self) -> str:
        gib = self.global_mem_bytes / 2**30
        chosen = ", selected" if self.selected else ""
        return (
            f"{self.id} {self.type} {self.name} ({self.platform}): {self.compute_units} compute "
            f"units, {gib:.1f} GiB{chosen}"
        )


def _device(info: s.caps_device_info, selected: bool) -> Device:
    def text(value: bytes) -> str:
        return value.decode(errors="replace")

    return Device(
        id=text(info.id),
        platform=text(info.platform),
        vendor=text(info.vendor),
        name=text(info.name),
        type=text(lib.caps_device_type_name(info.type)),
        version=text(info.version),
        driver=text(info.driver),
        compute_units=info.compute_units,
        global_mem_bytes=info.global_mem_bytes,
        max_alloc_bytes=info.max_alloc_bytes,
        local_mem_bytes=info.local_mem_bytes,
        selected=selected,
        unusable=text(info.unusable),
    )


def devices() -> List[Device]:
    """All OpenCL devices of this machine, in the loader's order; [] where there is none.

    `selected` is that which `load` and `train` take where none is named: $CAPSCL_DEVICE if set,
    else the best GPU, else the processor.
    """
    found = c.POINTER(s.caps_device_info)()
    n, chosen = s.size_t(), s.size_t()
    call("caps_device_list", c.byref(found), c.byref(n))
    try:
        error = s.caps_error()
        status = lib.caps_device_select(found, n, None, c.byref(chosen), None, c.byref(error))
        which = chosen.value if status == 0 else -1
        return [_device(found[i], i == which) for i in range(n.value)]
    finally:
        lib.caps_device_list_free(found)


class Runtime:
    """A device with a context and a queue of its own. `lock` is held by who uses it."""

    def __init__(self, device: Optional[str] = None) -> None:
        handle = c.c_void_p()
        selector = device.encode() if device is not None else None
        call("caps_runtime_create", c.byref(handle), selector, None)
        self.handle = handle
        self.lock = threading.RLock()
        self._free = weakref.finalize(self, lib.caps_runtime_free, handle)

    @property
    def device(self) -> Device:
        return _device(lib.caps_runtime_device(self.handle).contents, True)
