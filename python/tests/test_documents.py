"""The session in docs/python.md is what happens; the notebook runs from top to bottom.

$CAPSCL_DOCUMENT and $CAPSCL_NOTEBOOK name the two files (tests/checks/python sets them).
"""

import doctest
import os
from pathlib import Path

import pytest

import capscl


def fashion():
    try:
        capscl.open_data("fashion-mnist", "test", limit=1)
    except capscl.Error as error:
        pytest.skip(f"there is no Fashion-MNIST (dataset-fashion-mnist): {error}")


def test_the_tour(tmp_path, monkeypatch):
    document = os.environ.get("CAPSCL_DOCUMENT")
    if not document:
        pytest.skip("CAPSCL_DOCUMENT does not name docs/python.md")
    fashion()
    monkeypatch.chdir(tmp_path)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    text = Path(document).read_text()
    test = doctest.DocTestParser().get_doctest(text, {}, "python.md", document, 0)
    assert len(test.examples) > 20
    said = []
    result = doctest.DocTestRunner(optionflags=options).run(test, out=said.append)
    assert result.failed == 0, "".join(said)
    for example in test.examples:  # IGNORE_EXCEPTION_DETAIL leaves the words unread
        if example.exc_msg:
            with pytest.raises(capscl.Error) as info:
                exec(example.source, {"np": __import__("numpy"), "capscl": capscl,
                                      "model": capscl.Model("small", batch=2)})
            assert str(info.value) in example.exc_msg


def test_the_notebook():
    path = os.environ.get("CAPSCL_NOTEBOOK")
    if not path:
        pytest.skip("CAPSCL_NOTEBOOK does not name the notebook")
    reason = "is not installed: the notebook is not run"
    nbclient = pytest.importorskip("nbclient", reason=f"nbclient {reason}")
    pytest.importorskip("ipykernel", reason=f"ipykernel {reason}")
    pytest.importorskip("matplotlib", reason=f"matplotlib {reason}")
    import nbformat

    fashion()
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        cell.outputs = [] if cell.cell_type == "code" else None
        if cell.cell_type != "code":
            del cell["outputs"]
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    pictures = [o for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) >= 6
    progress = [o.data["text/plain"] for o in outputs
                if "text/plain" in o.get("data", {}) and "epoch 5:" in o.data["text/plain"]]
    assert len(progress) == 1 and "[####" not in progress[0]
    assert not [o for o in outputs if o.output_type == "error"]
