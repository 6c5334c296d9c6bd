"""The house: which room may import which, read from the imports themselves.

Every import counts, also one inside a function. One under `TYPE_CHECKING` counts for the order of
the rooms, but not for circles between modules of one room: types may name each other.
"""

import ast
import importlib
import re
from collections import defaultdict

import pytest
from conftest import ROOT

FLOORS = (
    ("ground",),
    ("runtime",),
    ("heads",),
    ("redraw", "distillation"),
    ("training",),
    ("methods", "commands", "seg_hooks", "det_hooks"),
    ("cli",),
    ("examples",),
    ("benchmarks",),
)
"""The rooms from the lowest floor up: a room imports from lower floors, never from its own."""

GROUND = ("rifle_ext", "rifle_ext.errors", "rifle_ext.entry_groups", "rifle_ext.autoload")
CLI = ("rifle_ext.cli", "rifle_ext.__main__")
NOT_NAMES = {"utils", "util", "common", "base", "misc", "helpers", "core"}
LONGEST = 300
LONGER = {"examples/digit_scenes.py"}
"""A script that is shown as a whole: one file that makes a data set."""


def modules():
    """{name: path} of all modules; an example is imported by its own name."""
    found = {}
    for folder in ("rifle_ext", "seg_hooks", "det_hooks", "examples", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            parts = parts[-1:] if folder == "examples" else parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def room(module):
    """The room a module is in."""
    if ROOT / "examples" in MODULES[module].parents:
        return "examples"
    if module in GROUND or module in CLI:
        return "ground" if module in GROUND else "cli"
    parts = module.split(".")
    return parts[1] if parts[0] == "rifle_ext" else parts[0]


def imported(node, package, typing=False):
    """(name, only for types) of everything that a syntax tree imports, wherever it does."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, typing) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - child.level + 1]
            whole = ".".join([*(above if child.level else ()), *filter(None, [child.module])])
            yield from ((f"{whole}.{alias.name}", typing) for alias in child.names)
        else:
            checks = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            yield from imported(child, package, typing or checks)


def arrows():
    """{(from, to): only for types} between modules."""
    found = {}
    for module, path in MODULES.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for name, typing in imported(ast.parse(path.read_text(encoding="utf-8")), package):
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            if name and name != module:
                found[module, name] = found.get((module, name), True) and typing
    return found


ARROWS = arrows()


def between_rooms():
    """{(from, to): the arrows between modules} between rooms."""
    found = defaultdict(list)
    for a, b in ARROWS:
        if room(a) != room(b):
            found[room(a), room(b)].append(f"{a} -> {b}")
    return found


def circle(arrows):
    """The arrows that are part of a circle, or lead from one to another."""
    left = set(arrows)
    while True:
        ends = {a for a, _ in left} & {b for _, b in left}
        inside = {(a, b) for a, b in left if a in ends and b in ends}
        if inside == left:
            return sorted(left)
        left = inside


def test_every_room_has_a_floor():
    assert {room(module) for module in MODULES} == {name for floor in FLOORS for name in floor}


def test_there_is_no_circle():
    assert not circle([arrow for arrow, typing in ARROWS.items() if not typing])


def test_no_arrow_runs_up():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    up = {k: v for k, v in between_rooms().items() if floor[k[1]] >= floor[k[0]]}
    assert not up


def test_methods_do_not_know_each_other():
    method = {m: m.split(".")[2] for m in MODULES if m.startswith("rifle_ext.methods.")}
    inside = [(a, b) for a, b in ARROWS if a in method and b in method]
    assert inside and not [(a, b) for a, b in inside if method[a] != method[b]]


def test_only_the_door_names_a_method_in_a_string():
    """`rifle_ext/__init__.py` names the public classes, which are loaded on first use."""
    others = [m for m in MODULES if room(m) not in ("methods", "examples", "benchmarks")]
    named = re.compile(r"rifle_ext\.methods\.\w")
    assert [m for m in others if named.search(MODULES[m].read_text())] == ["rifle_ext"]
    for name in importlib.import_module("rifle_ext").__all__:
        assert hasattr(importlib.import_module("rifle_ext"), name)


@pytest.mark.parametrize("name", ["seg_hooks", "det_hooks", "training", "runtime"])
def test_no_word_of_rifle_where_every_method_goes_through(name):
    """The package's own names and its exception apart."""
    for module, path in MODULES.items():
        if room(module) == name:
            words = re.findall(r"rifle(?!-ext|_ext|_events|Error)\w*", path.read_text(), re.I)
            assert not words, path


def test_names_say_what_is_inside():
    assert not [m for m in MODULES if set(m.split(".")) & NOT_NAMES]


def test_modules_are_short():
    long = [p for p in MODULES.values() if len(p.read_text().splitlines()) > LONGEST]
    assert {str(path.relative_to(ROOT)) for path in long} == LONGER


def test_the_map_in_the_documentation_is_this_one():
    """docs/design.md has a row for each room, and says which it imports."""
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w/]+?)/?` \|.*\| ([^|]*) \|$", text, re.MULTILINE)
    order = [name for floor in FLOORS for name in floor]
    measured = [
        (name, ", ".join(o for o in order if (name, o) in between_rooms()) or "nothing")
        for name in order
    ]
    assert rows == measured
    between = between_rooms()
    said = f"{len(order)} rooms on {len(FLOORS)} floors, {len(between)} arrows between them"
    assert said in text
