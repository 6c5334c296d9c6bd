"""A trial as one page to send on: no network, no other file."""

from __future__ import annotations

from html import escape
from typing import Any, List, Mapping

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
td { white-space: nowrap; }
h1 { overflow-wrap: anywhere; }
th:first-child, td:first-child { text-align: left; }
.verdict { font-size: 1.15rem; font-weight: 600; }
.small { color: #555; font-size: .9rem; }
svg { max-width: 100%; height: auto; }
pre { overflow-x: auto; background: #f5f5f5; padding: .6rem; }
"""


def page(
    trial: Mapping[str, Any], headings: List[str], cells: List[List[str]], picture: str
) -> str:
    """The page as HTML.

    Parameters
    ----------
    trial
        What `trial.json` holds.
    headings, cells
        The table.
    picture
        As SVG; empty for none.
    """
    title = f"Trial of {trial['config']}"
    return "\n".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            f"<p>{escape(trial['about'])}</p>",
            *(f'<p class="verdict">{escape(said)}</p>' for said in trial["verdicts"]),
            f'<p class="small">{escape(trial["not_said"])}</p>',
            _table(headings, cells),
            *(f'<p class="small">{escape(note)}</p>' for note in trial["notes"]),
            picture[picture.find("<svg") :] if picture else "",
            "<h2>The arms</h2>",
            *(
                f"<p><b>{escape(arm['name'])}</b></p><pre>{escape(arm['told'])}</pre>"
                for arm in trial["arms"]
            ),
            "<h2>What was run</h2>",
            f"<pre>{escape(_inputs(trial['inputs']))}</pre>",
            "</body></html>\n",
        ]
    )


def _table(headings: List[str], cells: List[List[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _inputs(inputs: Mapping[str, Mapping[str, str]]) -> str:
    lines = []
    for group, values in inputs.items():
        lines.append(group)
        lines += [f"  {name}: {value}" for name, value in values.items()]
    return "\n".join(lines)
