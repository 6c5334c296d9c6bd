"""Shared fixtures: the toolkits' surroundings, the example data, one way to train in-process."""

import zlib  # noqa: F401  isort: skip  (before paddle, or OpenCV cannot read PNG files)
import os
import sys
from pathlib import Path

os.environ.setdefault("FLAGS_set_to_1d", "1")
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in as many processes as there are cores

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples"), str(ROOT / "tests/helpers")]

import pytest  # noqa: E402


def needs_development_branch(there, what):
    """Skip what the released toolkits lack; with paddle 3 come the branches that have it."""
    import paddle

    if not there and paddle.__version__.startswith("3"):
        pytest.fail(f"{what} is gone from the toolkit's development branch")
    if not there:
        pytest.skip(f"{what}: only in the toolkit's development branch")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """The target task of the example data, tiny: 8 training and 3 validation scenes of 64x64."""
    import digit_scenes

    return digit_scenes.write_task(
        tmp_path_factory.mktemp("scenes"), "target", n_train=8, n_val=3, size=64, seed=0
    )


@pytest.fixture
def said(capsys, caplog):
    """Gives what was said so far: toolkits print it, or log it through `logging`."""
    return lambda: capsys.readouterr().out + caplog.text


@pytest.fixture
def seg(scenes, tmp_path):
    """PaddleSeg, attached, on the tiny scenes."""
    from seg_runs import SegRuns

    return SegRuns(scenes, tmp_path)


@pytest.fixture
def det(scenes, tmp_path):
    """PaddleDetection, attached, on the tiny scenes."""
    from det_runs import DetRuns

    return DetRuns(scenes, tmp_path)
