"""The structs of capscl._structs are those of the headers, to the byte."""

import ctypes as c
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from capscl import _library, _structs

INCLUDE = os.environ.get(
    "CAPSCL_INCLUDE", Path(__file__).resolve().parent.parent.parent / "include")

CONSTANTS = {
    "CAPS_MAX_DIMS": _structs.MAX_DIMS,
    "CAPS_F32": _structs.F32,
    "CAPS_I32": _structs.I32,
    "CAPS_PREDICT_CAPSULES": _structs.PREDICT_CAPSULES,
    "CAPS_PREDICT_RECONSTRUCTION": _structs.PREDICT_RECONSTRUCTION,
    "CAPS_PREDICT_COUPLINGS": _structs.PREDICT_COUPLINGS,
    "CAPS_PREDICT_INPUT_LENGTHS": _structs.PREDICT_INPUT_LENGTHS,
    "CAPS_OPTIMIZER_ADAM": _structs.OPTIMIZERS.index("adam"),
    "CAPS_OPTIMIZER_SGD": _structs.OPTIMIZERS.index("sgd"),
    "CAPS_AUGMENT_SHIFT2": _structs.AUGMENTATIONS.index("shift2"),
    "CAPS_AUGMENT_PLACE40": _structs.AUGMENTATIONS.index("place40"),
    "CAPS_AUGMENT_CROP24": _structs.AUGMENTATIONS.index("crop24"),
    "CAPS_AUGMENT_AFFINE": _structs.AUGMENTATIONS.index("affine"),
    "CAPS_AUGMENT_CROP": _structs.AUGMENTATIONS.index("crop"),
    "CAPS_AUGMENT_COUNT": len(_structs.AUGMENTATIONS),
    "CAPS_ROUTING_GRAD_LAST": _structs.ROUTING_GRADS.index("last"),
    "CAPS_SQUASH_EXP": _structs.SQUASHES.index("exp"),
    "CAPS_NORMALIZATION_MAX_MIN": _structs.NORMALIZATIONS.index("max_min"),
    "CAPS_SPLIT_TRAIN": _structs.SPLIT_TRAIN,
    "CAPS_SPLIT_TEST": _structs.SPLIT_TEST,
    "CAPS_SPLIT_VALIDATION": _structs.SPLIT_VALIDATION,
    "CAPS_TRAIN_STARTED": _structs.TRAIN_STARTED,
    "CAPS_TRAIN_PROGRESS": _structs.TRAIN_PROGRESS,
    "CAPS_TRAIN_EPOCH": _structs.TRAIN_EPOCH,
    "CAPS_TRAIN_SAVED": _structs.TRAIN_SAVED,
    "CAPS_TRAIN_WARNING": _structs.TRAIN_WARNING,
    "CAPS_TRAIN_NOTE": _structs.TRAIN_NOTE,
    "CAPS_TRAIN_LOG": _structs.TRAIN_LOG,
    "CAPS_HOST_ALIGNMENT": _structs.HOST_ALIGNMENT,
    "sizeof(bool)": c.sizeof(c.c_bool),
    "sizeof(caps_status)": c.sizeof(c.c_int),
}

STRUCTS = [
    value for name, value in vars(_structs).items()
    if name.startswith("caps_") and isinstance(value, type)
]


def asserts():
    yield "#include <stddef.h>\n#include <capscl/capscl.h>"
    for name, value in CONSTANTS.items():
        yield f'_Static_assert({name} == {value}, "{name}");'
    for struct in STRUCTS:
        name = struct.__name__
        yield f'_Static_assert(sizeof({name}) == {c.sizeof(struct)}, "size of {name}");'
        for field, kind in struct._fields_:
            place = getattr(struct, field).offset
            yield f'_Static_assert(offsetof({name}, {field}) == {place}, "{name}.{field}");'
            yield (f'_Static_assert(sizeof((({name} *)0)->{field}) == {c.sizeof(kind)}, '
                   f'"size of {name}.{field}");')


def compile_text(lines, folder):
    compiler = os.environ.get("CC") or shutil.which("cc")
    if not compiler or not Path(INCLUDE, "capscl").is_dir():
        pytest.skip("there is no C compiler, or no headers (CAPSCL_INCLUDE)")
    source = folder / "layout.c"
    source.write_text("\n".join(lines) + "\n")
    return subprocess.run(
        [compiler, "-std=c11", "-DCL_TARGET_OPENCL_VERSION=120", "-fsyntax-only", "-I", INCLUDE,
         source], stderr=subprocess.PIPE, text=True)


def test_structs_are_those_of_the_headers(tmp_path):
    assert len(STRUCTS) > 15
    done = compile_text(asserts(), tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_wrong_layout_is_found(tmp_path):
    wrong = ['#include <capscl/capscl.h>', '_Static_assert(sizeof(caps_em) == 8, "caps_em");']
    done = compile_text(wrong, tmp_path)
    assert done.returncode != 0 and "caps_em" in done.stderr


def test_functions_have_as_many_arguments_as_in_the_headers(tmp_path):
    """Calls each one in C with as many zeros: a wrong number does not compile."""
    lines = ["#include <capscl/capscl.h>"]
    calls = {n: a + [c.c_void_p] for n, a in _library._CALLS.items()}
    calls.update({n: a for n, (_, a) in _library._FUNCTIONS.items()})
    for name, arguments in calls.items():
        given = ", ".join(["0"] * len(arguments))
        lines.append(f"void call_{name}(void) {{ {name}({given}); }}")
    done = compile_text(lines, tmp_path)
    assert done.returncode == 0, done.stderr
