"""Puts what `docs/benefit.md` found, in short, on the front pages.

    python scripts/front_page.py    # rewrites README.md and docs/index.md

The rows with enough seeds to say something, so that no figure is typed twice. The Chinese pages get
theirs by `python scripts/translations.py copy`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import List

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "docs/benefit.md"
FRONT_PAGES = [ROOT / "README.md", ROOT / "docs/index.md"]
COLUMNS = (
    "your data are like this",
    "model",
    "seeds",
    "RIFLE minus plain",
    "p, corrected",
    "expect",
)
LEAST_SEEDS = 5


def measured(page: str) -> str:
    """The table of the front pages, from the text of the page with all comparisons.

    Raises
    ------
    ValueError
        The page has no such table.
    """
    found = re.search(r"^<!-- begin summary -->\n(.*?)^<!-- end summary -->", page, re.S | re.M)
    lines = [line for line in found[1].splitlines() if line.startswith("|")] if found else []
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    if not rows or not set(COLUMNS) <= set(rows[0]):
        raise ValueError(f"{SOURCE}: no summary with the columns {', '.join(COLUMNS)}")
    head, _, *body = rows
    chosen = [dict(zip(head, row)) for row in body]
    kept = [row for row in chosen if confirmed_seeds(row["seeds"]) >= LEAST_SEEDS]
    cells: List[List[str]] = [list(COLUMNS), ["---"] * len(COLUMNS)]
    cells += [[row[column] for column in COLUMNS] for row in kept]
    return "".join("| " + " | ".join(row) + " |\n" for row in cells).replace("| --- ", "|---")


def confirmed_seeds(cell: str) -> int:
    """How many seeds a row is of; 0 for those that something was chosen on."""
    number, _, kind = cell.partition(" ")
    return 0 if kind == "(search)" else int(number)


def with_measured(page: str, table: str) -> str:
    """A front page with the table between its marks."""
    marks = r"(<!-- begin measured -->\n).*?(<!-- end measured -->)"
    return re.sub(marks, lambda found: f"{found[1]}\n{table}\n{found[2]}", page, flags=re.S)


def main() -> None:
    """Rewrite the front pages."""
    table = measured(SOURCE.read_text(encoding="utf-8"))
    for page in FRONT_PAGES:
        page.write_text(with_measured(page.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main()
