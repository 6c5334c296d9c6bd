"""Shared fixtures: the toolkits' surroundings, the example data, one way to train in-process."""

import zlib  # noqa: F401  isort: skip  (before paddle, or OpenCV cannot read PNG files)
import os
import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("FLAGS_set_to_1d", "1")
os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in as many processes as there are cores

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples"), str(ROOT / "tests/helpers")]

import pytest  # noqa: E402

WITHOUT_DETECTION = find_spec("ppdet") is None
"""On Python 3.13 PaddleDetection does not run: docs/compatibility.md."""

NO_DETECTION = "there is no PaddleDetection: docs/compatibility.md says where it runs"


def pytest_configure():
    """With paddle 2 PaddleDetection is a package: where it is missing, nothing is left out."""
    installed = (version_of(name) for name in ("paddlepaddle", "paddlepaddle-gpu"))
    if WITHOUT_DETECTION and any(version.startswith("2") for version in installed):
        raise pytest.UsageError("ppdet cannot be found: install paddledet, or run `make env`")


def version_of(name):
    """The version of a package; empty if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def pytest_ignore_collect(collection_path):
    """Leave out files that import PaddleDetection, where there is none."""
    if not WITHOUT_DETECTION or collection_path.suffix != ".py":
        return None
    imported = r"^(from|import) (ppdet|det_runs|own_detection|det_hooks)\b"
    text = collection_path.read_text(encoding="utf-8")
    return True if re.search(imported, text, re.MULTILINE) else None


def pytest_collection_modifyitems(items):
    """Skip what is asked of PaddleDetection, where there is none."""
    skip = pytest.mark.skip(reason=NO_DETECTION)
    for item in items if WITHOUT_DETECTION else ():
        given = getattr(item, "callspec", None)
        if given and any(map(is_of_detection, given.params.values())):
            item.add_marker(skip)


def is_of_detection(parameter):
    """Whether a test's parameter is the toolkit, `det/MODEL`, a tuple with it, or its import."""
    first = parameter[:1] if isinstance(parameter, tuple) else (parameter,)
    return any(
        re.match(r"det(/|$)|import ppdet\b", word) for word in first if isinstance(word, str)
    )


def needs_detection():
    """Skip the rest of a test where there is no PaddleDetection."""
    if WITHOUT_DETECTION:
        pytest.skip(NO_DETECTION)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `--dist loadfile`, files that take long are begun first."""
    if config.getoption("dist") != "loadfile":
        return None
    from longest_first import LongestFirst

    return LongestFirst(config, log)


def pytest_report_header():
    return "PaddleDetection is not here: its tests are left out" if WITHOUT_DETECTION else None


def needs_later_release(there, what):
    """Skip what the package registry's toolkits lack; with paddle 3 come releases that have it."""
    import paddle

    if not there and paddle.__version__.startswith("3"):
        pytest.fail(f"{what} is gone from the toolkit")
    if not there:
        pytest.skip(f"{what}: only in later releases of the toolkit")


def needs_development_branch(there, what):
    """Skip what no release of the toolkit has yet.

    Should the branch lose it, that is skipped, too: no version tells the branch from a release.
    """
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
    needs_detection()
    from det_runs import DetRuns

    return DetRuns(scenes, tmp_path)


@pytest.fixture(scope="session")
def old(scenes, tmp_path_factory):
    """Weights of a training on an old task in PaddleSeg, done once."""
    from old_and_new import Tasks
    from seg_runs import SegRuns

    return Tasks(SegRuns(scenes, tmp_path_factory.mktemp("old"))).old


@pytest.fixture
def tasks(seg, old):
    """Trainings on new tasks in PaddleSeg, after that."""
    from old_and_new import Tasks

    return Tasks(seg, old=old)
