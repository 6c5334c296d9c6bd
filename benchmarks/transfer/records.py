"""The results file: JSON lines, one for each training, with what it was the result of."""

from __future__ import annotations

from pathlib import Path
from typing import Dict

from rifle_ext.commands.trial.inputs import source_digest, versions

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results/runs.jsonl"


def environment() -> Dict[str, str]:
    """Versions of what trains, and a digest of the package's source."""
    return {**versions(), "package": source_digest()}
