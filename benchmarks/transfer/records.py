"""The results file: JSON lines, one for each training, with what it was the result of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List

from rifle_ext.commands.trial.inputs import source_digest, versions
from rifle_ext.commands.trial.records import is_done, read

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results/runs.jsonl"


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
    return {**versions(), "package": source_digest()}
