"""Draws the front pages' picture: a plan, a log around a reset, a report, from a real training.

    make demo               # pre-trains (`python examples/demo.py --only seg` will do)
    python scripts/look.py  # fine-tunes as it does, and writes docs/images/look.svg

The terminal's own colours and line breaks: each command runs on a pseudo-terminal.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import List

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs/images/look.svg"
CONFIG = "configs/seg/demo/target.yml"
OUTPUT = "output/look"
TRAIN = f"--config {CONFIG} --do_eval --device cpu --save_dir {OUTPUT} --save_interval 50 --seed 1"
WIDTH = 84
"""Columns."""
SECONDS = 10
"""For which each of the frames is seen."""
SHOWN = re.compile(
    r"(\[TRAIN\] epoch: \d+, iter: \d+/\d+, loss: [\d.]+"
    r"|\[RIFLE\].*|\[EVAL\] #Images.*?mIoU: [\d.]+)"
)
PROMPT = "\033[1;36m$\033[0m "
AROUND = 4
"""Lines of the log that are seen before the reset, and twice as many after it."""

FRAME = """<g class="{unique_id}-matrix">
<style>{styles}
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, Consolas, Menlo, monospace;
 font-variant-east-asian: full-width }}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}"
 height="{terminal_height}"/></clipPath>
{lines}</defs>
<text x="{terminal_x}" y="24" fill="#8a92a6">@title@</text>
<g transform="translate({terminal_x}, 44)">{backgrounds}{matrix}</g>
</g>"""


def on_a_terminal(command: List[str]) -> str:
    """What a command prints on a terminal of `WIDTH` columns, colours included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, WIDTH, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
    process = subprocess.Popen(
        command, stdout=theirs, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    if process.wait() != 0:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}\n{said.decode()}")
    return said.decode().replace("\r\n", "\n")


def around_the_reset(log: str) -> str:
    """The lines of a log that a reader would look at."""
    lines = [found[1] for found in SHOWN.finditer(log)]
    at = next(i for i, line in enumerate(lines) if line.startswith("[RIFLE] reset"))
    first = [line for line in lines[: at - AROUND] if line.startswith("[RIFLE]")]
    last = [line for line in lines if line.startswith("[EVAL]")][-1:] + lines[-1:]
    return "\n".join([*first, "...", *lines[at - AROUND : at + 2 * AROUND], "...", *last])


def frame(index: int, title: str, text: Text) -> str:
    """One screen, as a group of SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    console.print(text)
    drawn = console.export_svg(code_format=FRAME, unique_id=f"look{index}")
    return drawn.replace("@title@", title)


def animation(frames: List[str], lines: int) -> str:
    """The frames one after the other, over the first one: alone where nothing moves."""
    width, height = WIDTH * 12.2 + 28, lines * 24.4 + 70
    share = 100 / len(frames)
    style = f"""
.later {{ opacity: 0; animation: look {SECONDS * len(frames)}s infinite step-end }}
@keyframes look {{ 0% {{ opacity: 1 }} {share:.2f}% {{ opacity: 0 }} }}
@media (prefers-reduced-motion: reduce) {{ .later {{ animation: none }} }}
"""
    ground = '<rect width="100%" height="100%" rx="10" fill="#15181f"/>'
    groups = [f"<g>{ground}{frames[0]}</g>"]
    for i, text in enumerate(frames[1:], 1):
        delay = f"animation-delay: {i * SECONDS}s"
        groups.append(f'<g class="later" style="{delay}">{ground}{text}</g>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">\n'
        f"<style>{style}</style>\n{''.join(groups)}\n</svg>\n"
    )


def fine_tuned() -> str:
    """The log of the training, which is run where it has not been."""
    kept = ROOT / OUTPUT / "train.log"
    if not kept.is_file():
        log = on_a_terminal([sys.executable, "-m", "seg_hooks.train", *TRAIN.split()])
        kept.write_text(log, encoding="utf-8")
    return kept.read_text(encoding="utf-8")


def main() -> None:
    """Train, look at it from all sides, draw."""
    plan = ["plan", "--toolkit", "seg", "-c", CONFIG]
    log = fine_tuned()
    report = ["report", OUTPUT]
    block = (ROOT / CONFIG).read_text().split("\n\n", 1)[1]
    screens = [
        (
            "1. What will happen",
            f"{PROMPT}cat {CONFIG}\n{block}\n{PROMPT}rifle-ext {' '.join(plan)}\n"
            + on_a_terminal([sys.executable, "-m", "rifle_ext", *plan]),
        ),
        (
            "2. The training, by the toolkit",
            f"{PROMPT}python -m seg_hooks.train {TRAIN}\n" + around_the_reset(log),
        ),
        (
            "3. What happened",
            f"{PROMPT}rifle-ext {' '.join(report)}\n"
            + on_a_terminal([sys.executable, "-m", "rifle_ext", *report]),
        ),
    ]
    texts = [Text.from_ansi(text) for _, text in screens]
    counter = Console(width=WIDTH, file=io.StringIO())
    lines = max(len(text.wrap(counter, WIDTH)) for text in texts)
    drawn = [frame(i, title, text) for i, ((title, _), text) in enumerate(zip(screens, texts))]
    PICTURE.write_text(animation(drawn, lines), encoding="utf-8")


if __name__ == "__main__":
    main()
