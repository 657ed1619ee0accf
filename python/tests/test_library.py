"""Finding the library, and one that does not fit."""

import os
import shutil
import subprocess
import sys

import pytest

import capscl
from capscl._library import lib


def start(**changes):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **changes}
    return subprocess.run(
        [sys.executable, "-c", "import capscl; print(capscl.__version__)"], env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_versions_agree():
    assert lib.caps_version().decode() == capscl.__version__


def test_a_library_that_is_not_there():
    done = start(CAPSCL_LIBRARY="/no/libcapscl.so")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "ImportError" in last and "/no/libcapscl.so" in last and "CAPSCL_LIBRARY" in last


def test_another_library():
    done = start(CAPSCL_LIBRARY="libc.so.6")
    assert done.returncode == 1 and "is another version than capscl" in done.stderr


def test_importing_needs_no_torch():
    code = "import sys, capscl; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code],
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
                          ).returncode == 0


def test_no_such_attribute():
    with pytest.raises(AttributeError, match="no attribute 'tensorflow'"):
        capscl.tensorflow


def test_onnx(trained, tmp_path):
    path = tmp_path / "m.onnx"
    capscl.export_onnx(trained, path)
    trained.save(tmp_path / "m.safetensors")
    capscl.export_onnx(tmp_path / "m.safetensors", tmp_path / "again.onnx")
    assert path.read_bytes() == (tmp_path / "again.onnx").read_bytes()
    for model, file in [(trained, tmp_path / "nowhere" / "m.onnx"),
                        (tmp_path / "none.safetensors", path), (path, tmp_path / "b.onnx")]:
        with pytest.raises(capscl.Error):
            capscl.export_onnx(model, file)


def test_onnx_says_the_same(trained, data, tmp_path):
    runtime = pytest.importorskip(
        "onnxruntime", reason="onnxruntime is not installed: ONNX files are not run")
    import numpy as np

    capscl.export_onnx(trained, tmp_path / "m.onnx")
    images = data[0][:7].astype(np.float32) / np.float32(255)
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    names = [o.name for o in session.get_outputs()]
    assert names == ["lengths", "capsules", "reconstruction"]
    found = trained.predict(images)
    for name, value in zip(names, session.run(names, {"images": images})):
        assert value.shape == getattr(found, name).shape
        assert np.allclose(value, getattr(found, name), atol=1e-5)


def test_typed():
    import pathlib

    assert pathlib.Path(capscl.__file__).with_name("py.typed").exists()


def test_types(tmp_path):
    mypy = shutil.which("mypy")
    if not mypy:
        pytest.skip("mypy is not installed: type hints are not checked")
    package = os.path.dirname(capscl.__file__)
    done = subprocess.run([mypy, "--cache-dir", str(tmp_path), package], stdout=subprocess.PIPE,
                          text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
