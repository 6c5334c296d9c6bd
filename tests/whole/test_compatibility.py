"""The matrix of docs/compatibility.md: which cells there are, in which order, and the page."""

import ast
import re
import sys

import pytest
from conftest import ROOT

sys.path.append(str(ROOT / "scripts"))

import matrix_cells as cells  # noqa: E402
import matrix_runs as runs  # noqa: E402
import test_matrix as script  # noqa: E402
from matrix_cells import BROKEN, CANNOT, PACKAGES, WORKS, Cell, Corner  # noqa: E402

from rifle_ext import __version__  # noqa: E402

CELL = Cell("PaddleSeg", "2.9.1", "3.3.1", "3.13")


def result(one, outcome=WORKS, said="", **more):
    fields = {"outcome": outcome, "said": said, "rifle_ext": __version__, "date": "2026-01-01"}
    return {"kind": cells.kind(one), **one._asdict(), **fields, **more}


@pytest.mark.parametrize("package", ["rifle_ext", "seg_hooks", "det_hooks"])
def test_no_slice_of_a_paths_parents(package):
    """Python 3.8 and 3.9 have none: `path.parents[:2]` is a TypeError there."""
    sliced = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in sorted((ROOT / package).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Slice)
        and getattr(node.value, "attr", None) == "parents"
    ]
    assert sliced == []


def test_every_combination_that_has_wheels_is_a_cell_once():
    every = cells.cells()
    assert len(every) == len(set(every)) == 10 * (5 + 6 + 3 * 5)
    assert {cell.version for cell in every if cell.toolkit == "PaddleDetection"} == {
        "2.6", "2.6.1", "2.7", "2.7.1", "develop",
    }  # fmt: skip


def test_the_diagonal_comes_first_and_has_each_value():
    first = cells.diagonal()
    assert cells.cells()[: len(first)] == first
    for toolkit, versions in cells.TOOLKITS.items():
        assert {cell.version for cell in first if cell.toolkit == toolkit} == set(versions)
    assert {cell.paddle for cell in first} == set(cells.PADDLES)
    assert {cell.python for cell in first} == {f"3.{minor}" for minor in range(8, 14)}


def test_one_environment_serves_all_of_its_cells():
    groups = cells.by_environment([*cells.cells(), *cells.CORNERS])
    assert len(groups) == 26 and sum(map(len, groups.values())) == 260 + 4
    assert list(groups)[:2] == [("2.6.2", "3.8"), ("3.0.0", "3.9")]


@pytest.mark.parametrize(
    ("flags", "results", "count"),
    [
        ([], [], 264),
        ([], [result(CELL)], 263),
        ([], [result(CELL, rifle_ext="0.0.1")], 264),
        (["--again"], [result(CELL)], 264),
        (["--diagonal"], [], 12),
        (["--corners"], [], 4),
        (["--corners"], [result(cells.CORNERS[0])], 3),
        (["--cells"], [], 260),
        (["--only", "PaddleSeg", "2.9.1", "python3.13"], [], 4),
        (["--only", "PaddleSeg", "2.9.1", "python3.13"], [result(CELL)], 3),
    ],
)
def test_what_has_a_result_is_not_run_again(flags, results, count):
    assert len(script.what_to_run(script.parse(flags), results)) == count


def test_make_calls_it_as_it_can_be_called():
    (line,) = re.findall(
        r"\n\tpython3 scripts/test_matrix.py (.*)\n", (ROOT / "Makefile").read_text()
    )
    assert script.parse(line.split()).jobs == 2


def test_the_page_has_what_ran_the_last_time_that_it_did():
    older, twin = CELL._replace(python="3.8", paddle="2.6.2"), CELL._replace(python="3.12")
    corner = Corner(PACKAGES, "2.6.2", "3.8")
    counted = {"with": "both", "passed": 9, "failed": 0, "skipped": 1, "minutes": 7}
    page = cells.page([
        result(CELL, BROKEN, "no reset"),
        result(twin, CANNOT, "ImportError: x"),
        result(older, BROKEN, "no reset"),
        result(CELL._replace(python="3.11"), CANNOT, "ImportError: x"),
        result(CELL),
        result(corner, linters="clean", **counted),
    ])  # fmt: skip
    assert "| 2.9.1 | 3.3.1 |  |  |  | no (2) | no (2) | yes |\n" in page
    assert "| 2.9.1 | 2.6.2 | **broken** (1) |  |  |  |  |  |\n" in page
    assert page.endswith("| 1 | broken: no reset |\n| 2 | the toolkit cannot: ImportError: x |\n")
    row = "| 2.6.2 | 3.8 | both | 9 | 0 | 1 | 7 | clean | 2026-01-01 |\n"
    assert f"| {__version__} {row}" in page
    assert "| 2.8" not in page


def test_the_page_is_that_of_the_results():
    below = script.PAGE.read_text(encoding="utf-8").partition(cells.MARK)[2]
    assert below == "\n" + cells.page(script.read())


@pytest.mark.parametrize(("paddle", "old"), [("2.6.2", True), ("3.0.0", False), ("2.6.2", False)])
def test_an_environment_has_the_pins_of_its_world(paddle, old):
    lines = runs.pinned(paddle, old).splitlines()
    assert not [line for line in lines if line.startswith("paddlepaddle==")]
    assert any(line.startswith("numpy==1.23.5") for line in lines) == old
    assert any(line.startswith("protobuf==") for line in lines) == (paddle > "3")


def test_the_last_words_of_a_log():
    said = "Traceback ...\n  line\nTypeError: a | b\nand more\n"
    assert runs.last_words(said) == "TypeError: a \\| b"
    assert runs.last_words("killed\n") == "killed"
    assert runs.last_words("") == "it said nothing"
