"""libcapscl.so: where it is, and its functions with their types.

Every call releases the interpreter's lock while the library works (as ctypes does), so that other
threads go on. `call` turns a status into an exception.
"""

from __future__ import annotations

import ctypes as c
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from . import _structs as s
from ._error import Error
from ._version import __version__

_HERE = Path(__file__).resolve().parent
_SONAME = "libcapscl.so.1"

_P = c.c_void_p  # of what the library keeps to itself: runtimes, models, specs
_PP = c.POINTER(c.c_void_p)
_E = c.POINTER(s.caps_error)
_TEXT = c.c_char_p
_T = s.tensors
_U64 = c.c_uint64

# Functions that return a status: their arguments but for the last one, caps_error *err.
_CALLS: Dict[str, List[Any]] = {
    "caps_device_list": [c.POINTER(c.POINTER(s.caps_device_info)), c.POINTER(s.size_t)],
    "caps_device_select": [
        c.POINTER(s.caps_device_info), s.size_t, _TEXT, c.POINTER(s.size_t), _TEXT],
    "caps_runtime_create": [_PP, _TEXT, _P],
    "caps_runtime_finish": [_P],
    "caps_tensor_init": [_T, _P, c.c_int, c.c_int, c.POINTER(s.size_t)],
    "caps_tensor_init_host": [_T, _P, c.c_int, c.c_int, c.POINTER(s.size_t), _P],
    "caps_tensor_read_host": [_P, _T, _P],
    "caps_squash_forward": [_P, _T, _T, c.c_int],
    "caps_squash_backward": [_P, _T, _T, _T, c.c_int],
    "caps_routing_forward": [
        _P, _T, c.POINTER(s.caps_routing_state), _T, _T, c.POINTER(s.caps_routing)],
    "caps_routing_backward": [
        _P, _T, _T, _T, c.POINTER(s.caps_routing_state), _T, c.POINTER(s.caps_routing)],
    "caps_em_forward": [_P] + [_T] * 8 + [c.POINTER(s.caps_em), _T],
    "caps_em_backward": [_P] + [_T] * 13 + [c.POINTER(s.caps_em), _T],
    "caps_model_spec_parse": [_PP, _TEXT, _TEXT],
    "caps_model_spec_load": [_PP, _TEXT],
    "caps_model_spec_copy": [_PP, _P],
    "caps_model_spec_set_classes": [_P, s.size_t],
    "caps_model_spec_set_input": [_P, c.POINTER(s.size_t), c.POINTER(s.size_t)],
    "caps_class_names_set": [_P, c.POINTER(_TEXT), s.size_t],
    "caps_model_create_fitting": [_PP, _P, _P, c.POINTER(s.caps_model_options)],
    "caps_model_open": [
        _PP, _P, _TEXT, c.POINTER(s.caps_model_options), c.POINTER(s.caps_open_options)],
    "caps_model_initialise": [_P, c.c_int, _U64],
    "caps_model_get_parameters": [_P, s.floats],
    "caps_model_set_parameters": [_P, s.floats],
    "caps_model_save": [_P, _TEXT],
    "caps_checkpoint_load": [c.POINTER(s.caps_checkpoint), _TEXT, _P],
    "caps_model_export_onnx": [_P, _TEXT],
    "caps_onnx_write": [_TEXT, _P, s.floats],
    "caps_predict": [
        _P, s.floats, s.size_t, c.c_uint, c.POINTER(s.caps_inspect_progress),
        c.POINTER(s.caps_predictions)],
    "caps_decode": [
        _P, s.floats, s.int32s, s.size_t, s.floats, c.POINTER(s.caps_inspect_progress)],
    "caps_dataset_open": [
        c.POINTER(s.caps_dataset), _TEXT, c.POINTER(s.caps_dataset_options)],
    "caps_dataset_view_size": [c.POINTER(s.caps_dataset), c.c_int, c.POINTER(s.size_t)],
    "caps_dataset_from_arrays": [c.POINTER(s.caps_dataset), c.POINTER(s.caps_arrays)],
    "caps_train_config_init": [c.POINTER(s.caps_train_config)],
    "caps_train_config_load": [c.POINTER(s.caps_train_config), _TEXT],
    "caps_profile_apply": [c.POINTER(s.caps_train_config), c.POINTER(s.caps_profile), c.c_bool],
    "caps_train_run_exists": [_TEXT, c.POINTER(c.c_bool)],
    "caps_train_run": [
        _P, c.POINTER(s.caps_train_config), c.POINTER(s.caps_train_control), c.POINTER(c.c_int),
        c.POINTER(s.caps_train_metrics)],
}

# All others: what they return, and their arguments.
_FUNCTIONS: Dict[str, Tuple[Any, List[Any]]] = {
    "caps_version": (_TEXT, []),
    "caps_status_name": (_TEXT, [c.c_int]),
    "caps_device_type_name": (_TEXT, [c.c_int]),
    "caps_device_list_free": (None, [c.POINTER(s.caps_device_info)]),
    "caps_runtime_free": (None, [_P]),
    "caps_runtime_device": (c.POINTER(s.caps_device_info), [_P]),
    "caps_runtime_reason": (_TEXT, [_P]),
    "caps_tensor_release": (None, [_T]),
    "caps_routing_scratch": (s.size_t, [s.size_t] * 4 + [c.POINTER(s.caps_routing)]),
    "caps_em_workspace_of": (s.caps_em_workspace, [_P, c.POINTER(s.caps_em), c.c_bool]),
    "caps_model_spec_free": (None, [_P]),
    "caps_model_spec_format": (c.c_void_p, [_P]),
    "caps_model_spec_info": (c.POINTER(s.caps_model_info), [_P]),
    "caps_model_spec_builtin": (_TEXT, [s.size_t]),
    "caps_model_spec_describe": (
        c.c_bool, [_P, s.size_t, c.POINTER(_TEXT), c.POINTER(_TEXT)]),
    "caps_class_name": (_TEXT, [_P, s.size_t, _TEXT]),
    "caps_model_free": (None, [_P]),
    "caps_model_get_spec": (_P, [_P]),
    "caps_model_get_info": (c.POINTER(s.caps_model_info), [_P]),
    "caps_model_get_max_batch": (s.size_t, [_P]),
    "caps_model_parameter_count": (s.size_t, [_P]),
    "caps_model_parameter": (c.POINTER(s.caps_parameter), [_P, s.size_t]),
    "caps_model_flat_count": (s.size_t, [_P]),
    "caps_checkpoint_release": (None, [c.POINTER(s.caps_checkpoint)]),
    "caps_predictions_release": (None, [c.POINTER(s.caps_predictions)]),
    "caps_dataset_draw": (None, [
        c.POINTER(s.caps_dataset), s.size_t, c.c_int, _U64, _U64, s.floats, s.int32s, s.floats]),
    "caps_dataset_release": (None, [c.POINTER(s.caps_dataset)]),
    "caps_train_config_release": (None, [c.POINTER(s.caps_train_config)]),
    "caps_profile_find": (c.POINTER(s.caps_profile), [_TEXT]),
    "caps_profile_at": (c.POINTER(s.caps_profile), [s.size_t]),
}


def _candidates() -> Iterator[str]:
    chosen = os.environ.get("CAPSCL_LIBRARY")
    if chosen:
        yield chosen
        return
    bundled = _HERE / "lib" / _SONAME
    if bundled.exists():
        yield str(bundled)
        return
    yield _SONAME


def _load_opencl() -> None:
    """The system's OpenCL loader knows the system's drivers; a wheel's own is for want of one."""
    for name in ("libOpenCL.so.1", str(_HERE / "lib" / "spare" / "libOpenCL.so.1")):
        try:
            c.CDLL(name, mode=c.RTLD_GLOBAL)
            return
        except OSError:
            continue


def _open() -> c.CDLL:
    reasons: List[str] = []
    _load_opencl()
    for name in _candidates():
        try:
            return c.CDLL(name)
        except OSError as error:
            reasons.append(str(error))
    raise ImportError(
        f"{'; '.join(reasons)} (CAPSCL_LIBRARY may name the library's file, as build/libcapscl.so)")


def _declare(library: c.CDLL) -> None:
    for name, arguments in _CALLS.items():
        function = getattr(library, name)
        function.restype = c.c_int
        function.argtypes = arguments + [_E]
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


lib = _open()
try:
    _declare(lib)
except AttributeError as missing:
    raise ImportError(f"{lib._name} is another version than capscl {__version__}: {missing}")
if lib.caps_version().decode() != __version__:
    raise ImportError(
        f"{lib._name} is version {lib.caps_version().decode()}, need {__version__}, as the package")

_libc = c.CDLL(None)
_libc.free.argtypes = [c.c_void_p]
_libc.free.restype = None


def call(name: str, *arguments: Any) -> None:
    """Calls a function that returns a status; raises Error where that is not CAPS_OK."""
    error = s.caps_error()
    status = getattr(lib, name)(*arguments, c.byref(error))
    if status:
        raise Error(
            error.message.decode(errors="replace"),
            lib.caps_status_name(status).decode(),
            error.build_log.decode(errors="replace"),
        )


def take_text(address: int) -> str:
    """A text that the caller frees."""
    if not address:
        raise MemoryError("capscl: out of memory")
    try:
        return c.string_at(address).decode()
    finally:
        _libc.free(address)


def path_bytes(path: Any) -> bytes:
    """A path as the library takes it."""
    return os.fsencode(os.fspath(path))
