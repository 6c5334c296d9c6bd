"""The results file: JSON lines, one for each training, with what it was the result of."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any, Dict, List

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results/runs.jsonl"
PACKAGES = ("rifle_ext", "seg_hooks", "det_hooks")

Line = Dict[str, Any]

_writing = threading.Lock()


def read(results: Path = RESULTS) -> Dict[str, Line]:
    """The newest line of each key, those cut off by a kill apart; none if there is no file."""
    found = {}
    for line in results.read_text().splitlines() if results.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            about = json.loads(line)
            found[about["key"]] = about
    return found


def append(results: Path, line: Line) -> None:
    """Write a line, after one that was cut off on a line of its own."""
    results.parent.mkdir(parents=True, exist_ok=True)
    with _writing, results.open("a+") as file:
        file.seek(max(0, file.tell() - 1))
        begun = file.read() not in ("", "\n")
        file.write(("\n" if begun else "") + json.dumps(line, separators=(",", ":")) + "\n")


def is_done(lines: Dict[str, Line], key: str, digest: str) -> bool:
    """Whether there is a result of these settings; one of other settings does not count."""
    return key in lines and lines[key].get("digest") == digest


def tidy(results: Path, wanted: Dict[str, str]) -> List[str]:
    """Rewrite a results file without what nobody asks for; returns the keys that are dropped.

    Parameters
    ----------
    results
        The file.
    wanted
        The settings' digest for each key.
    """
    lines = read(results)
    kept = {key: line for key, line in lines.items() if is_done(lines, key, wanted.get(key, ""))}
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in kept.values())
    results.write_text(text)
    return sorted(set(lines) - set(kept))


def environment() -> Dict[str, str]:
    """Versions of what trains, and a digest of the package's source."""
    names = ("paddlepaddle", "paddleseg", "paddledet", "numpy")
    found = {}
    for name in names:
        with contextlib.suppress(Exception):  # the build for GPUs has another name
            found[name] = version(name)
    return {**found, "package": source_digest()}


def source_digest(root: Path = ROOT) -> str:
    """A digest of the package's Python files."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
