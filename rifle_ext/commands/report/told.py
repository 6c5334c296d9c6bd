"""What a training's log itself tells: its lines, whatever wrote them, and the resets in them."""

from __future__ import annotations

import codecs
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator

_MARKS = (  # the longer ones first: one of UTF-32 begins with one of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a text file in any encoding whose digits and Latin letters are ASCII's.

    PowerShell's ``>`` and ``tee`` write UTF-16, its ``>>`` that below what is there already.
    """
    return io.StringIO(decoded(path.read_bytes()), newline=None)


def decoded(content: bytes) -> str:
    """Text, as well as can be; what is not understood is replaced."""
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is None:
        encoding = _by_zeros(content[:4000])
    # UTF-16 inside another encoding leaves zeros around what is ASCII.
    return content.decode(encoding, errors="replace").replace("\0", "")


def _by_zeros(start: bytes) -> str:
    """UTF-16 without a mark has a zero beside each ASCII character, at every other place."""
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) < len(start) / 4:
        return "utf-8"
    return "utf-16-le" if odd > even else "utf-16-be"


# rifle_ext/methods/rifle/journal.py
_BEGUN = re.compile(r"\[RIFLE\] \d+ resets? planned")
_RESUMED = re.compile(r"\[RIFLE\] resumed after iteration (\d+)")
_RESET = re.compile(
    r"\[RIFLE\] reset (\d+) of (\d+) after iteration (\d+) \(epoch (\d+)\): (\d+) values"
    r"(?:.*, (\d+(?:\.\d+)?) ms)?"
)


@dataclass
class Told:
    """What the log tells of RIFLE.

    Attributes
    ----------
    anything
        Whether it says anything of it.
    resets
        By their steps: the event of each (`rifle_ext.training.events`), as far as it is said.
    """

    anything: bool = False
    resets: Dict[int, Dict[str, Any]] = field(default_factory=dict)


def told(lines: Iterable[str]) -> Told:
    """What a log tells, in the order of its lines: what is trained again counts once."""
    found, anew = Told(), False
    for line in lines:
        if "[RIFLE]" not in line:
            continue
        begun, resumed, reset = (p.search(line) for p in (_BEGUN, _RESUMED, _RESET))
        if begun:
            found.anything = anew = True
        elif resumed:
            before = int(resumed[1])
            found.resets = {step: e for step, e in found.resets.items() if step < before}
            anew = False
        elif reset:
            if anew:
                found.resets = {}
            index, of, step, epoch, values = (int(reset[i]) for i in range(1, 6))
            found.anything, anew = True, False
            found.resets[step] = {
                "event": "reset", "step": step, "epoch": epoch, "index": index, "of": of,
                "values": values, "duration_ms": float(reset[6] or 0), "parameters": [],
            }  # fmt: skip
    return found
