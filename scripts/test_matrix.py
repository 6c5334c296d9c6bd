"""Run the suite with everything this machine has, and print a table: `make test-matrix`.

- A: paddle 2.6 with the released toolkits from the package registry, on each Python from 3.8 to
  3.11 that is found;
- B: paddle 3 with the toolkits' development branches, from the checkouts that `PADDLESEG_HOME` and
  `PADDLEDETECTION_HOME` name, on Python 3.11.

``--only A-3.9 B`` runs some of them, ``--write`` replaces their rows in docs/compatibility.md.
Environments are kept in .matrix. Needs nothing but Python.
"""

import argparse
import datetime
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/compatibility.md"
MARK = "<!-- written by scripts/test_matrix.py -->\n"
COLUMNS = "world | Python | versions | passed | failed | skipped | minutes | date"
HEAD = f"| {COLUMNS} |\n{'|---' * 8}|"
CHECKOUTS = {"PADDLESEG_HOME": "PaddleSeg", "PADDLEDETECTION_HOME": "PaddleDetection"}
# The checkouts' own requirements, but for what they ask of old versions of Python.
TOOLKIT_PACKAGES = (
    "visualdl opencv-python tqdm filelock scipy prettytable scikit-learn scikit-image typeguard "
    "shapely terminaltables Cython pycocotools lapx motmetrics pyclipper imgaug pyyaml"
)


def main():
    """Run what is asked for and print the table; 1 if a test failed or nothing could be run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="WORLD", help="e.g. A-3.8 A-3.11 B")
    parser.add_argument("--write", action="store_true", help="into docs/compatibility.md")
    chosen = parser.parse_args()
    worlds = {f"A-3.{minor}": f"python3.{minor}" for minor in range(8, 12)}
    worlds["B"] = "python3.11"
    rows, failed = {}, False
    for world, name in worlds.items():
        if chosen.only and world not in chosen.only:
            continue
        missing = what_is_missing(world, name)
        if missing:
            print(f"{world}: not run: {missing}", flush=True)
            continue
        rows[world], worked = run(world, find(name))
        failed |= not worked
    print("\n".join([HEAD, *rows.values()]))
    if chosen.write:
        write(rows)
    return 1 if failed or not rows else 0


def what_is_missing(world, name):
    """Why a world cannot be run; nothing if it can."""
    if find(name) is None:
        return f"there is no {name}"
    unset = [key for key in CHECKOUTS if world == "B" and not os.environ.get(key)]
    return (
        f"{' and '.join(unset)} not set: checkouts of the development branches" if unset else None
    )


def find(name):
    """The path of an interpreter that runs, from PATH or pyenv."""
    folders = os.environ["PATH"].split(os.pathsep)
    folders += map(str, sorted(Path.home().glob(".pyenv/versions/*/bin")))
    for folder in folders:
        path = shutil.which(name, path=folder)
        # pyenv puts a stand-in on the path for every version it knows of.
        if (
            path
            and subprocess.run([path, "-c", "import venv"], stderr=subprocess.DEVNULL).returncode
            == 0
        ):
            return path
    return None


def run(world, interpreter):
    """Run the suite in a world, installed first if need be; its row, and whether it passed."""
    folder = ROOT / ".matrix" / world
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        print(f"{world}: installing ...", flush=True)
        install(world, interpreter, folder)
    print(f"{world}: testing ...", flush=True)
    begin = time.time()
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "--dist",
        "loadfile",
        "-p",
        "no:cacheprovider",
    ]
    with (folder / "log").open("w") as log:
        done = subprocess.run(command, cwd=ROOT, env=environment(world, folder), stdout=log)
    last = ((folder / "log").read_text().splitlines() or [""])[-1]
    counts = dict(
        reversed(pair) for pair in re.findall(r"(\d+) (passed|failed|skipped|error)", last)
    )
    wrong = int(counts.get("failed", 0)) + int(counts.get("error", 0))
    numbers = [counts.get("passed", "0"), str(wrong), counts.get("skipped", "0")]
    minutes = f"{(time.time() - begin) / 60:.0f}"
    cells = [world, version_of(python), versions(world, python), *numbers, minutes]
    cells.append(datetime.date.today().isoformat())
    return f"| {' | '.join(cells)} |", done.returncode == 0


def install(world, interpreter, folder):
    """A virtual environment with the world's pinned packages and this project."""
    subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
    pip = [folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if world == "B":
        pins, extras = ROOT / "constraints-paddle3.txt", "test"
        more = ["paddlepaddle", *TOOLKIT_PACKAGES.split()]
    else:
        pins, extras, more = ROOT / "constraints.txt", "cpu,seg,det,test", []
    subprocess.run([*pip, "-c", pins, "setuptools<81", "wheel"], check=True)
    subprocess.run([*pip, "-c", pins, "--editable", f"{ROOT}[{extras}]", *more], check=True)
    (folder / "ready").touch()


def environment(world, folder):
    """The variables of a world: B finds the toolkits in their checkouts, A in its packages."""
    merged = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    homes = [merged.pop(key, "") for key in CHECKOUTS]
    merged.pop("PYTHONPATH", None)
    if world == "B":
        merged.update(zip(CHECKOUTS, homes), PYTHONPATH=os.pathsep.join(homes))
    return merged


def version_of(python):
    """The version of an interpreter."""
    said = subprocess.run([python, "--version"], stdout=subprocess.PIPE, check=True).stdout
    return said.decode().split()[1]


def versions(world, python):
    """What was tested, for the table."""
    names = ["paddlepaddle"] + (["paddleseg", "paddledet"] if world != "B" else [])
    code = f"from importlib.metadata import version; print(*(version(n) for n in {names}))"
    said = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, check=True).stdout
    found = [f"{name} {number}" for name, number in zip(names, said.decode().split())]
    return ", ".join(found + (["development branches"] if world == "B" else []))


def write(rows):
    """Replace the rows of the worlds that were run, below the mark of the page."""
    above, _, below = PAGE.read_text(encoding="utf-8").partition(MARK)
    kept = {line.split("|")[1].strip(): line for line in below.splitlines() if "| " in line}
    kept.pop("world", None)
    kept.update(rows)
    lines = [HEAD, *(kept[world] for world in sorted(kept, key=order))]
    PAGE.write_text(above + MARK + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


def order(world):
    """A-3.8 before A-3.11, B last."""
    return [int(part) if part.isdigit() else part for part in re.split(r"[-.]", world)]


if __name__ == "__main__":
    sys.exit(main())
