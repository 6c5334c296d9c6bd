"""Run the matrix of toolkits, paddles and Pythons: `make test-matrix`.

For each version of a toolkit, each paddle and each Python: the toolkit's own train tool,
unmodified, first without this package, which tells what the toolkit itself cannot do; then beside
it, which has to be the same bit for bit; then with a block. In four corners the whole suite and the
linters.

What was run is noted in docs/compatibility.jsonl, a line each, and not run again with the same
version of this package (`--again` does); docs/compatibility.md is written from that file. Toolkits
are looked for in `--toolkits FOLDER` as PaddleSeg-2.9.1 and the like, else cloned into .toolkits.
Environments are made in .matrix and deleted when they are no longer needed (`--keep`). Needs
nothing but Python and git.
"""

import argparse
import datetime
import json
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import matrix_cells as cells  # noqa: E402
import matrix_runs as runs  # noqa: E402
import translations  # noqa: E402
from machine import find_pythons  # noqa: E402

from rifle_ext import __version__  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/compatibility.md"
RESULTS = ROOT / "docs/compatibility.jsonl"
WRITING = threading.Lock()


def main() -> int:
    """Run what is asked for and has not run yet; 1 if this package broke anything."""
    chosen = parse(sys.argv[1:])
    wanted = [] if chosen.page else what_to_run(chosen, read())
    groups, pythons = cells.by_environment(wanted), find_pythons()
    with ThreadPoolExecutor(chosen.jobs) as pool:
        done = pool.map(lambda group: run_group(chosen, pythons, *group), groups.items())
        broken = sum(done)
    write_page()
    print(f"{broken} broken; {PAGE.relative_to(ROOT)} is written")
    return int(broken > 0)


def parse(arguments: List[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="cells that have all "
                        "of these words, e.g. PaddleSeg 2.9.1 paddle3.3.1 python3.13")  # fmt: skip
    parser.add_argument("--diagonal", action="store_true", help="each version once, no more")
    parser.add_argument("--corners", action="store_true", help="the whole suites alone")
    parser.add_argument("--cells", action="store_true", help="the train tools alone")
    parser.add_argument("--again", action="store_true", help="what has run, too")
    parser.add_argument("--keep", action="store_true", help="do not delete environments")
    parser.add_argument("--jobs", type=int, default=1, help="environments at a time")
    parser.add_argument("--toolkits", type=Path, default=ROOT / ".toolkits", metavar="FOLDER")
    parser.add_argument("--page", action="store_true", help="write the page, run nothing")
    return parser.parse_args(arguments)


def what_to_run(chosen: argparse.Namespace, results: List[cells.Result]) -> List[Any]:
    """Cells and corners that were asked for and have no result yet, in their order."""
    every: List[Any] = [] if chosen.corners else cells.cells()
    if chosen.diagonal:
        every = cells.diagonal()
    if not chosen.cells and not chosen.diagonal:
        every += cells.CORNERS
    asked = [one for one in every if set(chosen.only) <= words(one)]
    own = [result for result in results if result["rifle_ext"] == __version__]
    return [one for one in asked if chosen.again or not any(cells.is_of(r, one) for r in own)]


def words(one: Any) -> set:
    """What `--only` may name."""
    return {one[0], one[1], f"paddle{one.paddle}", f"python{one.python}"}


def run_group(
    chosen: argparse.Namespace,
    pythons: Dict[Tuple[int, int], str],
    environment: Tuple[str, str],
    group: List[Any],
) -> int:
    """Run what needs one environment; how many of it this package broke."""
    paddle, python = environment
    interpreter = pythons.get((3, int(python.split(".")[1])))
    if interpreter is None:
        print(f"paddle {paddle}, Python {python}: not run: there is no python{python}", flush=True)
        return 0
    print(f"paddle {paddle}, Python {python}: installing ...", flush=True)
    try:
        installed = runs.install(paddle, python, interpreter)
    except subprocess.CalledProcessError as error:
        print(f"paddle {paddle}, Python {python}: not run: {error}", flush=True)
        return 0
    broken = 0
    for one in group:
        begin = time.time()
        result = run_one(chosen, one, installed)
        if result is not None:
            note(one, result)
            broken += result["outcome"] == cells.BROKEN
            said = f"{' '.join(one)}: {result['outcome']} {result['said']}"
            print(f"{said} ({time.time() - begin:.0f} s)", flush=True)
    if not chosen.keep:
        shutil.rmtree(installed.parents[1], ignore_errors=True)
    return broken


def run_one(chosen: argparse.Namespace, one: Any, python: Path) -> Optional[cells.Result]:
    """The result of a cell or corner; none if a toolkit is not to be had."""
    if isinstance(one, cells.Cell):
        checkout = find_toolkit(chosen.toolkits, one.toolkit, one.version)
        return runs.run_cell(one, python, checkout) if checkout else None
    checkouts = {}
    for toolkit, version in cells.NEWEST.items() if one.toolkits == cells.CHECKOUTS else ():
        found = find_toolkit(chosen.toolkits, toolkit, version)
        if found is None:
            return None
        checkouts[toolkit] = found
    return runs.run_corner(one, python, checkouts)


def find_toolkit(folder: Path, toolkit: str, version: str) -> Optional[Path]:
    """A checkout of a toolkit; cloned if it is not there."""
    path = folder.resolve() / f"{toolkit}-{version}"
    with WRITING:
        if not (path / runs.MODULES[toolkit]).is_dir():
            branch = version if version == "develop" else f"release/{version}"
            address = f"https://github.com/PaddlePaddle/{toolkit}"
            command = ["git", "clone", "-q", "--depth", "1", "--branch", branch, address, str(path)]
            if subprocess.run(command).returncode:
                print(f"{toolkit} {version}: not run: it cannot be cloned", flush=True)
                return None
    return path


def read() -> List[cells.Result]:
    """All results, oldest first."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def note(one: Any, result: cells.Result) -> None:
    """Add a result to the file, and write the page anew."""
    today = datetime.date.today().isoformat()
    now = {"rifle_ext": __version__, "date": today}
    line = {"kind": cells.kind(one), **one._asdict(), **result, **now}
    with WRITING:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        write_page()


def write_page() -> None:
    """Write what lies below the mark of the page, in both languages."""
    above, mark, _ = PAGE.read_text(encoding="utf-8").partition(cells.MARK)
    PAGE.write_text(f"{above}{mark or cells.MARK}\n{cells.page(read())}", encoding="utf-8")
    translations.copy_all()


if __name__ == "__main__":
    sys.exit(main())
