"""`rifle-ext explain`: what an error means, and what to do about it.

The text is docs/errors.md, which comes with the package: it is there without a network, too.
"""

from __future__ import annotations

import argparse
import ast
import functools
import re
from pathlib import Path
from typing import Any, Collection, Dict, List, Optional, Tuple

from rich.markdown import Markdown

from rifle_ext.commands.console import standard_output
from rifle_ext.errors import RifleError, did_you_mean

PAGE = Path(__file__).with_name("errors.md")
"""The page docs/errors.md as a file of the package. Its headings are the topics of errors."""

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("rifle_ext", "seg_hooks", "det_hooks")
ERRORS = ("RifleError", "CannotRun", "ToolkitError")
ALIKE = 0.6
"""Part of what an error always says that a text must have to be its message."""
SHORTEST = 5
"""Characters of a part that is looked for."""

SHAPES = (
    (r"\S+ = .+: (no such key|allowed is)\b", "block"),
    (r"\bthe training cannot be set up: ", "toolkit"),
    (r"\bthe model cannot be run on a training sample: ", "toolkit"),
    (r"(^|\s)--import \S+: \w+: ", "components"),
    (r"\bpaddle or the toolkit cannot be imported: ", "package"),
)
"""Messages that are put together where they are not raised, or end in the words of others: what
they look like, and their topics."""


def add_command(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser(
        "explain",
        help="what an error means, and what to do about it",
        description="Print what stands in docs/errors.md about an error: a topic, as messages name "
        "it at their end, or a message itself, in quotes. Without either, list the topics.",
    )
    parser.set_defaults(command=run)
    parser.add_argument("error", nargs="*", metavar="TOPIC", help="a topic, or a message")


def run(chosen: argparse.Namespace) -> int:
    """Print a section, or those there are; returns the exit code."""
    found, text = sections(PAGE.read_text(encoding="utf-8")), " ".join(chosen.error)
    console = standard_output()
    if not text:
        for topic, section in found.items():
            console.print(f"{topic:14} {first_sentence(section)}", soft_wrap=True, markup=False)
        return 0
    known = topic_of(text, found)
    if known is None:
        hint = did_you_mean(text, found)
        raise RifleError(
            f"explain {text}: no topic, and no message of rifle-ext{hint} (topics: "
            f"{', '.join(found)})",
            topic="options",
        )
    console.print(Markdown(f"## {known}\n\n{found[known]}", hyperlinks=False))
    return 0


def sections(page: str) -> Dict[str, str]:
    """The text of each section of a page, by the anchor of its heading."""
    parts = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)[1:]
    return {
        title.lower().replace(" ", "-"): text.strip() for title, text in zip(*[iter(parts)] * 2)
    }


def first_sentence(section: str) -> str:
    """What a section begins with."""
    return re.split(r"(?<=\.)\s", section, maxsplit=1)[0].replace("\n", " ")


def topic_of(text: str, found: Collection[str]) -> Optional[str]:
    """The topic that a text is or names; else that of the error whose message it is, if it is one.

    In a notebook, or in a loop of one's own, a message is shown without its topic.
    """
    named = re.search(r"rifle-ext explain ([\w-]+)", text)
    topic = str(named[1]) if named else "-".join(text.lower().split())
    if topic in found:
        return topic
    text = " ".join(text.split())
    scores: Dict[str, float] = {}
    for said, parts in messages():
        here = sum(len(part) for part in parts if part in text)
        if said in found and here >= ALIKE * sum(map(len, parts)):
            scores[said] = max(here, scores.get(said, 0))
    if scores:
        return max(scores, key=lambda said: scores[said])
    return next((said for shape, said in SHAPES if re.search(shape, text)), None)


@functools.lru_cache(maxsize=None)
def messages() -> List[Tuple[str, List[str]]]:
    """The topic of each error that the source raises with one, and what its message always says."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for call in errors_in(ast.parse(path.read_text(encoding="utf-8"))):
                topics = [k.value for k in call.keywords if k.arg == "topic"]
                parts = [part for argument in call.args for part in _parts(argument)]
                if topics and isinstance(topics[0], ast.Constant) and parts:
                    found.append((str(topics[0].value), parts))
    return found


def errors_in(tree: ast.AST) -> List[ast.Call]:
    """The errors that a module makes."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ERRORS]


def _parts(message: ast.AST) -> List[str]:
    """The constant parts of a message that are long enough to tell it by."""
    texts = (n.value for n in ast.walk(message) if isinstance(n, ast.Constant))
    parts = (" ".join(text.split()) for text in texts if isinstance(text, str))
    return [part for part in parts if len(part) >= SHORTEST]
