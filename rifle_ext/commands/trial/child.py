"""What runs in a training's own process: a train tool, unmodified, with all streams seeded.

``python -m rifle_ext.commands.trial.child [--import=MODULE ...] SEED TOOL FLAGS...``; TOOL is the
path of a script or the name of a module. PaddleDetection's train tool has no flag for a seed, and
neither toolkit's has one for components of the user's own. Standard input is a pipe that nothing is
ever written to: it closes when the process that started this one ends, and then this one ends with
all that it has started.
"""

from __future__ import annotations

import itertools
import os
import random
import runpy
import signal
import sys
import threading
from pathlib import Path
from typing import List

from rifle_ext import autoload
from rifle_ext.training.components import import_components

IMPORT = "--import="


def main(arguments: List[str]) -> None:
    """Seed Python's, NumPy's and Paddle's streams, then run the tool as if it had been called."""
    imports = list(itertools.takewhile(lambda word: word.startswith(IMPORT), arguments))
    seed, tool, *flags = arguments[len(imports) :]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    autoload.install()  # where no start-up file is read
    import zlib  # noqa: F401  before paddle, or OpenCV reads no PNG

    import numpy as np
    import paddle

    import_components([word[len(IMPORT) :] for word in imports])
    random.seed(int(seed))
    np.random.seed(int(seed))
    paddle.seed(int(seed))
    sys.argv = [tool, *flags]
    if tool.endswith(".py"):
        sys.path[0] = str(Path(tool).resolve().parent)
        runpy.run_path(tool, run_name="__main__")
    else:
        runpy.run_module(tool, run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    os.read(0, 1)  # not by `sys.stdin`: its lock would be held when this process ends
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
