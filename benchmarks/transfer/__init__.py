"""What RIFLE buys: pre-train on a source task, fine-tune on few scenes of another one."""

import sys
from pathlib import Path

# The examples are scripts: they import one another by their bare names.
sys.path.append(str(Path(__file__).resolve().parents[2] / "examples"))
