"""What `make test-matrix` runs and what docs/compatibility.md says of it: pure functions.

A cell is one version of one toolkit with one paddle on one Python. A corner is the whole suite, and
the linters, with both toolkits.
"""

from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Tuple

Result = Dict[str, Any]
"""A line of the results' file: the cell's or corner's fields, `outcome`, `said`, and the like."""

TOOLKITS = {
    "PaddleSeg": ("2.8", "2.8.1", "2.9", "2.9.1", "develop"),
    "PaddleDetection": ("2.6", "2.6.1", "2.7", "2.7.1", "develop"),
}
NEWEST = {"PaddleSeg": "2.9.1", "PaddleDetection": "2.7.1"}
"""The newest release: the branch `release/` and its number."""

PADDLES = {"2.6.2": range(8, 13), "3.0.0": range(8, 14), "3.1.1": range(9, 14),
           "3.2.2": range(9, 14), "3.3.1": range(9, 14)}  # fmt: skip
"""Releases of paddle, and the minor versions of Python 3 for which the registry has wheels."""

WORKS, CANNOT, BROKEN = "works", "the toolkit cannot", "broken"

MARK = "<!-- written by scripts/test_matrix.py -->\n"


class Cell(NamedTuple):
    """A train tool to run: alone, beside this package, and with a block."""

    toolkit: str
    version: str
    paddle: str
    python: str

    @property
    def environment(self) -> Tuple[str, str]:
        """What has to be installed for it."""
        return self.paddle, self.python


class Corner(NamedTuple):
    """A whole suite to run, with the registry's toolkits or those of checkouts."""

    toolkits: str
    paddle: str
    python: str

    @property
    def environment(self) -> Tuple[str, str]:
        """What has to be installed for it."""
        return self.paddle, self.python


PACKAGES, CHECKOUTS = "packages", "checkouts"
CORNERS = (
    Corner(PACKAGES, "2.6.2", "3.8"),
    Corner(PACKAGES, "2.6.2", "3.11"),
    Corner(CHECKOUTS, "3.3.1", "3.9"),
    Corner(CHECKOUTS, "3.3.1", "3.13"),
)

DIAGONAL = (("2.6.2", "3.8"), ("3.0.0", "3.9"), ("3.1.1", "3.10"), ("3.2.2", "3.12"),
            ("3.3.1", "3.13"), ("3.3.1", "3.11"))  # fmt: skip
"""Environments that have each paddle and each Python at least once."""


def cells() -> List[Cell]:
    """All, the diagonal first: each toolkit's version, each paddle and each Python once."""
    every = [
        Cell(toolkit, version, paddle, f"3.{minor}")
        for paddle, minors in PADDLES.items()
        for minor in minors
        for toolkit, versions in TOOLKITS.items()
        for version in versions
    ]
    first = diagonal()
    return [*first, *sorted((cell for cell in every if cell not in first), key=_rank)]


def diagonal() -> List[Cell]:
    """The cells that run first."""
    return [
        Cell(toolkit, version, paddle, python)
        for index, (paddle, python) in enumerate(DIAGONAL)
        for toolkit, versions in TOOLKITS.items()
        for version in [[*versions, NEWEST[toolkit]][index]]
    ]


def _rank(cell: Cell) -> Tuple[int, Tuple[str, str]]:
    """Environments of the diagonal first; cells of one environment together."""
    known = DIAGONAL.index(cell.environment) if cell.environment in DIAGONAL else len(DIAGONAL)
    return known, cell.environment


def by_environment(wanted: Iterable[Any]) -> Dict[Tuple[str, str], List[Any]]:
    """What is to be run, for each environment, in the order in which they are first named."""
    groups: Dict[Tuple[str, str], List[Any]] = {}
    for one in wanted:
        groups.setdefault(one.environment, []).append(one)
    return groups


def is_of(result: Result, one: Any) -> bool:
    """Whether a result is one of a cell or corner."""
    return result["kind"] == kind(one) and all(result[k] == v for k, v in one._asdict().items())


def kind(one: Any) -> str:
    """The word for a cell or corner in the results' file."""
    return "cell" if isinstance(one, Cell) else "corner"


def page(results: Sequence[Result]) -> str:
    """What docs/compatibility.md shows: only what ran, the last time that it did."""
    corners, tables = _corners(results), []
    reasons: List[str] = []
    for toolkit in TOOLKITS:
        tables.append(_table(toolkit, results, reasons))
    listed = [f"| {number} | {reason} |" for number, reason in enumerate(reasons, 1)]
    listed = ["| | why |", "|---|---|", *listed] if listed else []
    return "\n".join([*corners, "", *tables, *listed]).rstrip() + "\n"


def _last(results: Sequence[Result], one: Any) -> Result:
    """The newest result; empty if there is none."""
    return next((result for result in reversed(results) if is_of(result, one)), {})


def _corners(results: Sequence[Result]) -> List[str]:
    columns = "rifle-ext | paddle | Python | toolkits | passed | failed | skipped | minutes"
    lines = [f"| {columns} | linters | date |", f"|{'---|' * 10}"]
    ran = {
        Corner(r["toolkits"], r["paddle"], r["python"]) for r in results if r["kind"] == "corner"
    }
    for corner in sorted(ran, key=lambda corner: (corner.paddle, _number(corner.python))):
        result = _last(results, corner)
        kept = [result["with"], result["passed"], result["failed"], result["skipped"]]
        kept += [result["minutes"], result["linters"], result["date"]]
        first = [result["rifle_ext"], corner.paddle, corner.python]
        lines.append(f"| {' | '.join(map(str, [*first, *kept]))} |")
    return lines


def _table(toolkit: str, results: Sequence[Result], reasons: List[str]) -> str:
    """A row for each version and paddle of which something ran; adds to the reasons."""
    minors = range(8, 14)
    lines = [f"| {toolkit} | paddle | {' | '.join(f'3.{minor}' for minor in minors)} |"]
    lines.append(f"|{'---|' * (2 + len(minors))}")
    for version in TOOLKITS[toolkit]:
        for paddle in PADDLES:
            row = [_last(results, Cell(toolkit, version, paddle, f"3.{m}")) for m in minors]
            if any(row):
                shown = [_shown(result, reasons) for result in row]
                lines.append(f"| {version} | {paddle} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _shown(result: Result, reasons: List[str]) -> str:
    if not result:
        return ""
    if result["outcome"] == WORKS:
        return "yes"
    reason = f"{result['outcome']}: {result['said']}"
    if reason not in reasons:
        reasons.append(reason)
    word = "no" if result["outcome"] == CANNOT else "**broken**"
    return f"{word} ({reasons.index(reason) + 1})"


def _number(version: str) -> Tuple[int, ...]:
    return tuple(map(int, version.split(".")))
