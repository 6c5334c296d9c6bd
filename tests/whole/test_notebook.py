"""The notebook runs from top to bottom, and shows what it says."""

import base64
import re

import nbformat
import paddle
import pytest
from conftest import ROOT
from nbclient import NotebookClient
from processes import path_with

NOTEBOOK = ROOT / "examples/rifle_in_a_notebook.ipynb"

pytestmark = pytest.mark.skipif(
    paddle.__version__.startswith("3"), reason="the notebook is for PaddleSeg 2.8 with paddle 2.6"
)


UNREAD = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "_ToolkitFinder"]
"""
"""Takes back what the start-up file did: as after `pip install -t`, when nothing reads it."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What each cell of code shows, executed from top to bottom."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "sitecustomize.py").write_text(UNREAD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("PYTHONPATH", path_with(folder))
        where = {"metadata": {"path": str(NOTEBOOK.parent)}}
        NotebookClient(notebook, timeout=250, kernel_name="python3", resources=where).execute()
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def text_of(outputs):
    """All that a cell shows, as text; terminal's colours taken out."""
    parts = [o.text if o.output_type == "stream" else o.data.get("text/plain", "") for o in outputs]
    return re.sub(r"\x1b\[[\d;]*m", "", "".join(parts))


@pytest.mark.timeout(280)
def test_it_runs_and_its_report_tells_of_the_reset(shown):
    pretraining, plan, training, report, events = map(text_of, shown[4:])
    assert "[RIFLE]" not in pretraining
    (planned,) = re.findall(r"1\. after iteration (\d+)", plan)
    assert f"reset 1 of 1 after iteration {planned} " in training
    assert f"reset after {planned} of 160 iterations" in report
    pictures = [o.data["image/png"] for o in shown[-2] if "image/png" in o.get("data", {})]
    (picture,) = pictures
    assert base64.b64decode(picture)[1:4] == b"PNG"
    assert re.search(rf"^reset {planned} \d+$", events, re.MULTILINE)


def test_what_is_kept_of_it_is_of_a_whole_run():
    cells = [c for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(o.output_type == "error" for cell in cells for o in cell.outputs)
    kept = "".join(map(text_of, (cell.outputs for cell in cells)))
    assert "reset 1 of 1 after iteration" in kept
