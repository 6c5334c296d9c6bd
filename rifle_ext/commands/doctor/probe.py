"""What only a process that imports paddle can tell, learned in a process of its own.

A paddle that crashes or hangs takes that process with it, and how far it came is part of the
answer: the process prints one line of JSON a step. This module is what runs there, so it imports
nothing that imports `zlib`: whether paddle does well without that is one of the questions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Callable, Dict

Answer = Dict[str, Any]
"""What a step tells. ``error``: it failed. ``unknown``: it was not reached, and why."""

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)
"""An image of one black pixel."""

CRASHED = "Python crashed"

_CODE = (
    "import sys; sys.path[:], sys.argv[1:] = sys.argv[1:], []; "
    "from rifle_ext.commands.doctor.probe import answer; answer()"
)


def probe(limit: float) -> Dict[str, Answer]:
    """The answer of each step, from a process that may take `limit` seconds."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE, *sys.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=limit,
        )
    except subprocess.TimeoutExpired as error:
        return answers(error.stdout or b"", f"nothing more happened within {limit:g} s")
    return answers(done.stdout, f"{CRASHED} (exit code {done.returncode})")


def answers(printed: bytes, ended: str) -> Dict[str, Answer]:
    """What was printed, by step.

    Parameters
    ----------
    printed
        One JSON object a line, each with its step.
    ended
        How the process ended: the error of the first step that has no line.
    """
    found = {}
    for line in printed.decode("utf-8", "replace").splitlines():
        answer = json.loads(line)
        found[answer.pop("step")] = answer
    for step in STEPS:
        if step not in found:
            found[step] = {"error": ended}
            return {**unknown(f"{ended} at an earlier check"), **found}
    return found


def unknown(reason: str) -> Dict[str, Answer]:
    """The answers of a process that told nothing."""
    return {step: {"unknown": reason} for step in STEPS}


def answer() -> None:
    """Go through the steps and print what each tells; whatever else prints goes to stderr."""
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    failed = False
    for step, ask in STEPS.items():
        try:
            told = {"unknown": "paddle cannot be imported"} if failed else ask()
        except BaseException as error:  # SystemExit, too
            lines = str(error).strip().splitlines() or [""]
            told = {"error": f"{type(error).__name__}: {lines[-1].strip()}"}
            failed = step == "import"
        print(json.dumps({"step": step, **told}), file=report, flush=True)


def _import() -> Answer:
    import paddle

    return {"version": paddle.__version__, "file": paddle.__file__}


def _gpu() -> Answer:
    import paddle

    if not paddle.device.is_compiled_with_cuda():
        return {"cuda": None, "devices": []}
    cuda = paddle.device.cuda
    found = [cuda.get_device_properties(index) for index in range(cuda.device_count())]
    devices = [{"name": gpu.name, "capability": [gpu.major, gpu.minor]} for gpu in found]
    return {"cuda": str(paddle.version.cuda()), "devices": devices}


def _fleet() -> Answer:
    """What `fleet.init` asks for first; importing fleet alone works with any protobuf."""
    from paddle.distributed import fleet

    return {"degrees": len(fleet.DistributedStrategy().hybrid_configs)}


def _png() -> Answer:
    import numpy

    try:
        import cv2
    except ModuleNotFoundError as error:
        if error.name != "cv2":
            raise
        return {"read": None}
    return {"read": cv2.imdecode(numpy.frombuffer(PNG, numpy.uint8), -1) is not None}


def _convolution() -> Answer:
    import paddle

    if not paddle.device.is_compiled_with_cuda() or not paddle.device.cuda.device_count():
        return {"value": None}
    paddle.device.set_device("gpu")
    image = paddle.ones([1, 1, 3, 3])
    return {"value": float(paddle.nn.functional.conv2d(image, image).sum())}


STEPS: Dict[str, Callable[[], Answer]] = {
    "import": _import,
    "gpu": _gpu,
    "fleet": _fleet,
    "png": _png,
    "convolution": _convolution,
}
"""In this order: those that have been seen to crash come late."""
