"""What to make of the answers of the doctor's probe: pure functions, a finding each."""

from __future__ import annotations

import functools
import re
from typing import Any, Callable, Dict, Optional, Sequence

from rifle_ext.commands.doctor.checks import (
    NOTE,
    OK,
    PROBLEM,
    TESTED_PADDLE,
    Finding,
    Package,
    is_paddle_2,
    release,
)
from rifle_ext.commands.doctor.probe import CRASHED, Answer
from rifle_ext.commands.doctor.wheels import (
    BLACKWELL,
    HOPPER,
    PADDLES_SITE,
    REGISTRY,
    has_code_for,
    of_paddle_3,
)

ZLIB_FIRST = "import zlib before paddle in the script that trains"


def is_registry_wheel(paddle: Optional[Package]) -> bool:
    """Whether its code is known; Paddle's own wheels have another version (2.6.2.post120)."""
    return (
        paddle is not None
        and paddle.name == "paddlepaddle-gpu"
        and re.fullmatch(r"2\.(5\.[12]|6\.[012])", paddle.version) is not None
    )


def _if_known(judge: Callable[..., Finding]) -> Callable[..., Finding]:
    """Let a check be, and say why, if its step was not reached."""

    @functools.wraps(judge)
    def check(answer: Answer, *more: Any) -> Finding:
        if "unknown" not in answer:
            return judge(answer, *more)
        mend = "mend what is said above, then run this again"
        name = judge.__name__.replace("check_", "")
        return Finding(name, NOTE, f"not checked: {answer['unknown']}", mend)

    return check


@_if_known
def check_import(answer: Answer, paddle: Optional[Package]) -> Finding:
    """Whether paddle can be imported, and its files are those of the installed version."""
    check = "import"
    package = paddle or Package("paddlepaddle", TESTED_PADDLE)
    mend = f"pip install --force-reinstall --no-deps {package.name}=={package.version}"
    if "error" in answer:
        # With paddle's own zlib the import itself may crash, or fail to decompress something.
        see = (
            'see all of it with python -c "import paddle"; '
            f'if python -c "import zlib, paddle" works, {ZLIB_FIRST}; else '
        )
        return Finding(check, PROBLEM, f"`import paddle` fails: {answer['error']}", see + mend)
    found = f"`import paddle` works: {answer['version']}, {answer['file']}"
    if paddle is not None and release(answer["version"])[:3] != release(paddle.version)[:3]:
        return Finding(check, PROBLEM, f"{found}, but {paddle.version} is installed", mend)
    return Finding(check, OK, found)


@_if_known
def check_gpu(answer: Answer, listed: Sequence[str], visible: Optional[str]) -> Finding:
    """Whether paddle sees the GPUs of this machine.

    Parameters
    ----------
    answer
        Of the step ``gpu``.
    listed
        What ``nvidia-smi -L`` lists.
    visible
        The environment variable ``CUDA_VISIBLE_DEVICES``.
    """
    if "error" in answer:
        return Finding("gpu", PROBLEM, f"asking fails: {answer['error']}", _try_paddle())
    setting = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible})"
    cuda, devices = answer["cuda"], answer["devices"]
    if devices:
        names = ", ".join(f"{index}: {gpu['name']}" for index, gpu in enumerate(devices))
        return Finding("gpu", OK, f"paddle, for CUDA {cuda}, sees {names}{setting}")
    built = f"paddle is for CUDA {cuda}" if cuda else "paddle is for the CPU"
    if not listed:
        return Finding(
            "gpu",
            NOTE,
            f"{built}, and no NVIDIA GPU was found",
            "on the CPU, train with --device cpu (PaddleSeg) or -o use_gpu=false "
            "(PaddleDetection); in a container, start that with --gpus all",
        )
    there = f"{built}, but this machine has {', '.join(listed)}"
    if cuda is None:
        mend = (
            f"pip uninstall -y paddlepaddle, then {REGISTRY.command} (compute capability 6.1 to "
            f"8.9, Python 3.8 to 3.11); else {HOPPER.command} (10.0 and newer: {BLACKWELL.command})"
        )
        return Finding("gpu", NOTE, there, mend)
    if visible is not None:
        found = f"{there}, hidden by CUDA_VISIBLE_DEVICES={visible!r}"
        return Finding("gpu", NOTE, found, "unset CUDA_VISIBLE_DEVICES")
    return Finding(
        "gpu",
        PROBLEM,
        f"{there}, which it does not see",
        f"compare the CUDA version that nvidia-smi shows: it has to be {cuda} or higher, or "
        "else the driver has to be updated",
    )


@_if_known
def check_capability(answer: Answer, paddle: Optional[Package]) -> Finding:
    """Whether the installed wheel holds code for each GPU."""
    check = "capability"
    if "error" in answer:
        return Finding(check, NOTE, "not checked: see `gpu`", _try_paddle())
    devices: Sequence[Dict[str, Any]] = answer["devices"]
    if not devices:
        return Finding(check, OK, "paddle sees no GPU")
    said = {f"{gpu['name']}: {'.'.join(map(str, gpu['capability']))}": gpu for gpu in devices}
    if paddle is None or not is_registry_wheel(paddle):
        return Finding(check, OK, "; ".join(said))
    lacking = [name for name, gpu in said.items() if not has_code_for(tuple(gpu["capability"]))]
    if not lacking:
        return Finding(check, OK, "; ".join(said))
    newest = max(tuple(gpu["capability"]) for gpu in devices)
    return Finding(
        check,
        PROBLEM,
        f"{'; '.join(lacking)}: {paddle.name} {paddle.version} holds no code for that",
        f"paddle 3 with checkouts of the toolkits' newest releases: pip uninstall -y "
        f"{paddle.name}, then {of_paddle_3(newest).command}"
        if newest >= (9, 0)
        else f"a wheel for that GPU from {PADDLES_SITE}, or the CPU",
    )


@_if_known
def check_convolution(answer: Answer) -> Finding:
    """Whether the first GPU computes."""
    check = "convolution"
    if "error" in answer:
        mend = f"if `capability` is ok: CUDA or cuDNN does not fit; {_try_paddle()}"
        return Finding(check, PROBLEM, f"fails on the GPU: {answer['error']}", mend)
    if answer["value"] is None:
        return Finding(check, OK, "no GPU to compute on")
    if answer["value"] == 9:
        return Finding(check, OK, "right on the GPU")
    found = f"{answer['value']} on the GPU, and 9 is right"
    return Finding(check, PROBLEM, found, _try_paddle())


@_if_known
def check_fleet(answer: Answer, protobuf: Optional[str], paddle: Optional[Package]) -> Finding:
    """Whether training in several processes can be set up, which depends on protobuf."""
    if "error" not in answer:
        return Finding("fleet", OK, f"protobuf {protobuf}: paddle.distributed.fleet works")
    found = f"protobuf {protobuf}: paddle.distributed.fleet fails: {answer['error']}"
    mend = "pip install protobuf==3.20.3" if is_paddle_2(paddle) else "pip install -U protobuf"
    return Finding("fleet", PROBLEM, found, mend)


@_if_known
def check_png(answer: Answer) -> Finding:
    """Whether OpenCV reads a PNG after paddle was imported."""
    if answer.get("read", False) is None:
        return Finding("png", OK, "no OpenCV to read PNG files with")
    if answer.get("read"):
        return Finding("png", OK, "OpenCV reads PNG files after paddle is imported")
    if "error" in answer and not _crashed(answer):
        mend = 'see all of it with python -c "import zlib, paddle, cv2"; numpy may not fit'
        return Finding("png", PROBLEM, f"OpenCV fails: {answer['error']}", mend)
    return Finding(
        "png",
        PROBLEM,
        "OpenCV cannot read PNG files after paddle is imported, which has a zlib of its own"
        + (f": {answer['error']}" if "error" in answer else ""),
        f"{ZLIB_FIRST}; this package's train tools and its start-up file do that",
    )


def _crashed(answer: Answer) -> bool:
    return CRASHED in answer.get("error", "")


def _try_paddle() -> str:
    return 'see all of it with python -c "import paddle; paddle.utils.run_check()"'
