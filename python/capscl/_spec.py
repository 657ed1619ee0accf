"""Specs: what a network is."""

from __future__ import annotations

import ctypes as c
import json
import os
import weakref
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _structs as s
from ._library import call, lib, path_bytes, take_text

SpecLike = Union[str, "os.PathLike[str]", Mapping[str, Any]]


def builtin_names() -> List[str]:
    """The networks that have a name: "mnist" (the paper's), "small", "cnn", ..."""
    names: List[str] = []
    while True:
        name = lib.caps_model_spec_builtin(len(names))
        if name is None:
            return names
        names.append(name.decode())


class Spec:
    """A spec of the library, owned or borrowed from a model."""

    def __init__(self, handle: c.c_void_p, owner: Any = None) -> None:
        self.handle = handle
        self._owner = owner
        if owner is None:
            self._free = weakref.finalize(self, lib.caps_model_spec_free, handle)

    @classmethod
    def read(cls, spec: SpecLike) -> "Spec":
        """A built-in name, the path of a JSON file, or a dict like one."""
        handle = c.c_void_p()
        if isinstance(spec, Mapping):
            text = json.dumps(spec).encode()
            call("caps_model_spec_parse", c.byref(handle), text, b"spec")
        else:
            call("caps_model_spec_load", c.byref(handle), path_bytes(spec))
        return cls(handle)

    def copy(self) -> "Spec":
        handle = c.c_void_p()
        call("caps_model_spec_copy", c.byref(handle), self.handle)
        return Spec(handle)

    def give(self) -> int:
        """The handle, which is now the caller's to free."""
        self._free.detach()
        return self.handle.value or 0

    @property
    def info(self) -> s.caps_model_info:
        return lib.caps_model_spec_info(self.handle).contents

    @property
    def input(self) -> Tuple[int, int, int]:
        """C, H, W of the images that the network sees."""
        return tuple(self.info.input)

    @property
    def source(self) -> Tuple[int, int, int]:
        """C, H, W of the images that it is fed with; the input's unless they are cut or centred."""
        info = self.info
        return tuple(info.source) if info.source[0] else tuple(info.input)

    def json(self) -> str:
        return take_text(lib.caps_model_spec_format(self.handle))

    def dict(self) -> Dict[str, Any]:
        return json.loads(self.json())

    def set_classes(self, classes: int) -> None:
        call("caps_model_spec_set_classes", self.handle, classes)

    def set_input(self, chw: Sequence[int]) -> None:
        call("caps_model_spec_set_input", self.handle, (s.size_t * 3)(*chw), None)

    @property
    def class_names(self) -> Optional[List[str]]:
        info = self.info
        if not info.has_class_names:
            return None
        text = c.create_string_buffer(256)
        return [
            lib.caps_class_name(self.handle, j, text).decode(errors="replace")
            for j in range(info.classes)
        ]

    def set_class_names(self, names: Sequence[str]) -> None:
        array = (c.c_char_p * len(names))(*(name.encode() for name in names))
        call("caps_class_names_set", self.handle, array, len(names))

    def layers(self) -> List[Tuple[str, str]]:
        """Every layer's name, and what it is in words."""
        name, text = c.c_char_p(), c.c_char_p()
        found: List[Tuple[str, str]] = []
        while lib.caps_model_spec_describe(
            self.handle, len(found), c.byref(name), c.byref(text)
        ):
            found.append(((name.value or b"").decode(), (text.value or b"").decode()))
        return found
