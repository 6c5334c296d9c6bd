"""Keeps the Chinese pages in step with the English ones.

    python scripts/translations.py          # what differs; exit code 1 if anything does
    python scripts/translations.py copy     # code blocks and generated tables: English to Chinese
    python scripts/translations.py seen docs/cost.md ...    # these translations are up to date

What a machine can copy (fenced blocks, what stands between `begin` and `end` marks, tables after a
`written by` mark) is typed once, in the English page. The rest is compared section by section:
headings, paragraphs, lists, tables, figures, code and links have to be the same. And as words can
only be judged by who reads both, `translated.json` holds a digest of every English section as it
was when somebody last did.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parents[1]
LEDGER = ROOT / "scripts/translated.json"
WORDS = ROOT / "scripts/table_words.json"
ENGLISH_ONLY = ("design.md", "lwf-zoo.md", "zoo.md")
"""Pages of `docs` for who works on the package, and long lists."""

COPIED = re.compile(
    r"^```.*?^```$|^<!-- begin (?P<name>\S+) -->$.*?^<!-- end (?P=name) -->$", re.S | re.M
)
WRITTEN = re.compile(r"^<!-- written by .*?-->$", re.M)
TABLE = re.compile(r"(?:^\|.*\|$\n?)+", re.M)
HEADING = re.compile(r"^(#+) (.*)$", re.M)
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FIGURE = re.compile(r"(?<![A-Za-z0-9_.])[-+±]?\d+(?:[.,]\d+)*")
ITEM = re.compile(r"^ *(?:[-*]|\d+\.) ", re.M)


def pairs() -> Dict[Path, Path]:
    """The Chinese page of each English page, whether or not it is there."""
    found = {ROOT / "README.md": ROOT / "README_cn.md"}
    for page in sorted((ROOT / "docs").glob("*.md")):
        if page.name not in ENGLISH_ONLY:
            found[page] = ROOT / "docs/zh" / page.name
    for page in sorted((ROOT / "rifle_ext/methods").glob("*/README.md")):
        found[page] = page.with_name("README_cn.md")
    return found


def slug(heading: str) -> str:
    """The anchor of a heading, on the site as on GitHub."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
    return kept.replace(" ", "-")


# What is copied


def copied_spans(text: str) -> List[Tuple[int, int]]:
    """Where a page has what is copied, in order."""
    spans = [found.span() for found in COPIED.finditer(text)]
    mark = WRITTEN.search(text)
    for table in TABLE.finditer(text, mark.end()) if mark else ():
        if not any(start <= table.start() < end for start, end in spans):
            spans.append(table.span())
    return sorted(spans)


def copy(english: str, chinese: str, words: Dict[str, str]) -> str:
    """The Chinese page with the English one's blocks and generated tables.

    Parameters
    ----------
    words
        Cells of generated tables, or parts of them between commas and colons, and what they are in
        Chinese; other cells stay as they are.

    Raises
    ------
    ValueError
        The pages have different numbers of blocks and generated tables.
    """
    sources, targets = copied_spans(english), copied_spans(chinese)
    if len(sources) != len(targets):
        raise ValueError(f"{len(targets)} blocks and generated tables instead of {len(sources)}")
    for (start, end), (begin, stop) in reversed(list(zip(sources, targets))):
        source = english[start:end]
        if not source.startswith("```"):
            source = _table_in_chinese(source, words)
        chinese = chinese[:begin] + source + chinese[stop:]
    return chinese


def _table_in_chinese(text: str, words: Dict[str, str]) -> str:
    def row(line: "re.Match[str]") -> str:
        cells = [cell.strip() for cell in line[0].strip("|").split("|")]
        return "| " + " | ".join(_cell_in_chinese(cell, words) for cell in cells) + " |"

    return re.sub(r"^\|(?!---).*\|$", row, text, flags=re.M)


def _cell_in_chinese(cell: str, words: Dict[str, str]) -> str:
    if cell in words:
        return words[cell]
    parts = re.split("(, |: )", cell)
    if not set(parts[::2]) <= set(words):
        return cell
    return "".join({", ": "，", ": ": "："}.get(part) or words[part] for part in parts)


# What is compared


@dataclass(frozen=True)
class Section:
    """A heading and what follows it up to the next one, without what is copied."""

    level: int
    title: str
    text: str

    @property
    def digest(self) -> str:
        """Of the words, however their lines are broken."""
        words = " ".join(f"{self.title}\n{self.text}".split())
        return hashlib.sha256(words.encode()).hexdigest()[:12]


@lru_cache(maxsize=None)
def sections(text: str) -> Tuple[Section, ...]:
    """The sections of a page, in order."""
    for start, end in reversed(copied_spans(text)):
        text = text[:start] + "\n" + text[end:]
    begins = [found.start() for found in HEADING.finditer(text)]
    parts = [text[a:b] for a, b in zip(begins, [*begins[1:], None])]
    found = [HEADING.match(part) for part in parts]
    return tuple(
        Section(len(match[1]), match[2].strip(), part[match.end() :])
        for match, part in zip(found, parts)
        if match
    )


SAME: Dict[str, Callable[[Section], "Counter[str]"]] = {
    "paragraphs": lambda s: Counter(paragraph=len(re.split(r"\n\s*\n", s.text.strip()))),
    "items of lists": lambda s: Counter(item=len(ITEM.findall(s.text))),
    "cells of tables": lambda s: Counter(
        cells=sum(row.count("|") for row in s.text.splitlines() if row.startswith("|"))
    ),
    "code": lambda s: Counter({" ".join(c.split()) for c in CODE.findall(f"{s.title}\n{s.text}")}),
    "figures": lambda s: Counter(FIGURE.findall(LINK.sub("]", CODE.sub("`", s.title + s.text)))),
}
"""What a section and its translation have in common, apart from links."""


def links(page: Path, section: Section) -> "Counter[str]":
    """Where a section leads, in terms of the English pages and the numbers of their headings.

    A Chinese page leads to Chinese pages where there are any, except to itself in English.
    """
    english = {chinese: page for page, chinese in pairs().items()}
    wrong = {other for other in pairs() if page in english and other != english[page]}
    found: "Counter[str]" = Counter()
    for target in LINK.findall(section.text):
        if "://" in target:
            found[target] += 1
            continue
        name, _, anchor = target.partition("#")
        path = Path(os.path.normpath(page.parent / name)) if name else page
        place = ""
        if anchor and path.is_file():
            slugs = [slug(s.title) for s in sections(path.read_text(encoding="utf-8"))]
            place = f", heading {slugs.index(anchor) + 1}" if anchor in slugs else f"#{anchor}"
        language = " in English" if path in wrong else ""
        found[str(english.get(path, path).relative_to(ROOT)) + place + language] += 1
    return found


def differences(english: Path, chinese: Path) -> Iterator[str]:
    """What differs between a page and its translation, digests apart."""
    if not chinese.is_file():
        yield "there is no such page"
        return
    ours, theirs = (page.read_text(encoding="utf-8") for page in (english, chinese))
    try:
        if copy(ours, theirs, _words()) != theirs:
            yield "blocks or generated tables are others: `translations.py copy` copies them"
    except ValueError as error:
        yield str(error)
    here, there = sections(ours), sections(theirs)
    if [s.level for s in here] != [s.level for s in there]:
        yield f"{len(there)} headings instead of {len(here)}, or of other levels"
        return
    for section, translation in zip(here, there):
        same = {what: (of(section), of(translation)) for what, of in SAME.items()}
        same["links"] = (links(english, section), links(chinese, translation))
        for what, (wanted, seen) in same.items():
            if wanted != seen:
                yield f"{translation.title}: {what}: {_unlike(wanted, seen)}"


def _unlike(wanted: "Counter[str]", seen: "Counter[str]") -> str:
    missing, added = sorted((wanted - seen).elements()), sorted((seen - wanted).elements())
    if set(missing + added) <= {"paragraph", "item", "cells"}:
        return f"{sum(seen.values())} instead of {sum(wanted.values())}"
    parts = [("missing", missing), ("too many", added)]
    return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)


def changed(page: Path, seen: Dict[str, Dict[str, str]]) -> List[str]:
    """The headings of an English page's sections that are not as they were when translated."""
    before = seen.get(_name(page), {})
    found = sections(page.read_text(encoding="utf-8"))
    return [s.title for s in found if before.get(s.title) != s.digest]


def problems() -> Iterator[str]:
    """All that is not in step, a line each."""
    translated = pairs()
    expected = set(translated.values())
    for stray in {*(ROOT / "docs/zh").glob("*.md")} - expected:
        yield f"{_name(stray)}: there is no English page"
    seen = json.loads(LEDGER.read_text(encoding="utf-8"))
    for english, chinese in translated.items():
        for found in differences(english, chinese):
            yield f"{_name(chinese)}: {found}"
        for title in changed(english, seen):
            yield f"{_name(chinese)}: the English section has changed since: {title}"


# What is written


def copy_all() -> None:
    """Bring blocks and generated tables into all Chinese pages."""
    for english, chinese in pairs().items():
        if chinese.is_file():
            text = chinese.read_text(encoding="utf-8")
            try:
                new = copy(english.read_text(encoding="utf-8"), text, _words())
            except ValueError as error:
                print(f"{_name(chinese)}: {error}")
                continue
            if new != text:
                chinese.write_text(new, encoding="utf-8")


def record(pages: List[str]) -> None:
    """Note that somebody has read these translations beside their English pages."""
    seen = json.loads(LEDGER.read_text(encoding="utf-8")) if LEDGER.is_file() else {}
    translated = pairs()
    for page in (Path(os.path.abspath(name)) for name in pages):
        if page not in translated:
            raise SystemExit(f"{page}: not an English page that has a translation")
        found = list(differences(page, translated[page]))
        if found:
            raise SystemExit("\n".join(f"{_name(page)}: {line}" for line in found))
        text = page.read_text(encoding="utf-8")
        seen[_name(page)] = {s.title: s.digest for s in sections(text)}
    text = json.dumps(dict(sorted(seen.items())), indent=1, ensure_ascii=False)
    LEDGER.write_text(text + "\n", encoding="utf-8")


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _words() -> Dict[str, str]:
    return json.loads(WORDS.read_text(encoding="utf-8"))


def main() -> int:
    """Check, copy or record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("copy", help="copy blocks and generated tables into the Chinese pages")
    commands.add_parser("seen", help="translations are up to date").add_argument("page", nargs="+")
    chosen = parser.parse_args()
    if chosen.command == "copy":
        copy_all()
    if chosen.command == "seen":
        record(chosen.page)
        return 0
    found = list(problems())
    print("\n".join(found) or "The Chinese pages are in step with the English ones.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
