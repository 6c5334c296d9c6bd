"""Make .venv with the stack that `stack.py` chooses, and see that it computes.

Does nothing if that has been done for the same pins and the same GPUs. ``--gpu`` refuses where a
GPU cannot be used; otherwise the build for the CPU takes its place, and it is said why. To look
again: ``make clean``.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import machine  # noqa: E402
from stack import DET, SEG, Gpu, Machine, NoStack, Source, Stack, choose  # noqa: E402

from rifle_ext.commands.doctor.wheels import PADDLES_SITE  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
DONE = VENV / "stack.json"
PINS = {2: "constraints.txt", 3: "constraints-paddle3.txt"}
SECONDS = 600
"""How long the first operation may take: it reads gigabytes, and may compile kernels."""


class Failed(Exception):
    """A stack could not be installed, or does not compute; the message says what was seen."""


def main() -> int:
    """Make the environment; 1, with a message, if there can be none."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--gpu", action="store_true", help="refuse where a GPU cannot be used")
    gpu_wanted = parser.parse_args().gpu
    gpus, trouble = machine.find_gpus()
    if gpu_wanted and not gpus:
        tell(f"no NVIDIA GPU was found: {trouble or 'there is no nvidia-smi'}")
        return 1
    key = fingerprint(gpus)
    done = read_done() if PYTHON.exists() else {}
    if trouble and done.get("gpu"):
        tell(f"the environment for a GPU is kept as it is, but now no GPU is seen: {trouble}")
        return 0
    try:
        other = done.get("key") != key or done["homes"] not in (None, homes())
        if other or (gpu_wanted and not done["gpu"]):
            found = machine.find(gpus, trouble)
            stack = settle(found, gpu_wanted)
            done = {"key": key, "gpu": stack.wheel is not None, "notes": stack.notes}
            done["homes"] = homes() if stack.checkouts else None
            DONE.write_text(json.dumps(done))
    except (NoStack, Failed) as error:
        tell(str(error))
        return 1
    for note in done["notes"]:
        tell(note)
    return 0


def read_done() -> Dict[str, Any]:
    """What was installed; empty if that cannot be told, as after a kill."""
    try:
        done = json.loads(DONE.read_text())
    except (OSError, ValueError):
        return {}
    return done if isinstance(done, dict) and {"key", "gpu", "notes", "homes"} <= set(done) else {}


def fingerprint(gpus: Tuple[Gpu, ...]) -> str:
    """What a made environment depends on, with `homes` where it has checkouts."""
    names = [*PINS.values(), "setup.py", "rifle_ext/commands/doctor/wheels.py"]
    names += [f"scripts/{name}.py" for name in ("machine", "make_env", "stack")]
    files = b"".join((ROOT / name).read_bytes() for name in names)
    set_to = {name: os.environ.get(name) for name in ("WORLD", "CUDA_VISIBLE_DEVICES")}
    return hashlib.sha256(files + repr((set_to, gpus)).encode()).hexdigest()


def homes() -> List[Optional[str]]:
    """The checkouts that are named."""
    return [os.environ.get(source.variable) for source in (SEG, DET)]


def settle(found: Machine, gpu_wanted: bool) -> Stack:
    """Install what suits the machine; the build for the CPU where a GPU does not compute."""
    stack = choose(found)
    for gpu in found.gpus if gpu_wanted else ():
        print(gpu, flush=True)
    if gpu_wanted and stack.wheel is None:
        raise NoStack("\n".join(stack.notes))
    try:
        install(stack)
        try_out(stack)
        return stack
    except Failed as error:
        if stack.wheel is None:
            raise
        reason = what_failed(found, stack, error)
        if gpu_wanted:
            raise NoStack(reason) from None
    tell(reason)
    stack = choose(found._replace(gpus=(), gpu_trouble=""))
    stack = stack._replace(notes=(reason, *stack.notes))
    install(stack)
    try_out(stack)
    return stack


def what_failed(found: Machine, stack: Stack, error: Failed) -> str:
    """The message in place of a CUDA error."""
    assert stack.wheel is not None
    lines = [
        f"the GPU is not used: {', '.join(map(str, found.gpus))}.",
        f"Tried: {stack.wheel.command}, for CUDA {stack.wheel.cuda}, and a convolution on the GPU.",
        f"Failed: {error}",
        "Instead: the build of paddle for the CPU.",
        f"To get the GPU: a newer driver, or a build for it from {PADDLES_SITE}; where GPUs of "
        "several kinds are in one machine, CUDA_VISIBLE_DEVICES names those to use. Then `make "
        "clean`, and the same command again.",
    ]
    return "\n".join(lines)


def install(stack: Stack) -> None:
    """A new .venv with the stack and this checkout in it."""
    checkouts = {source: path or clone(source) for source, path in stack.checkouts.items()}
    what = stack.wheel.requirement if stack.wheel else f"paddle {stack.paddle} for the CPU"
    toolkits = ", ".join(source.name for source in checkouts) or "PaddleSeg, PaddleDetection"
    print(f"Installing {what}, {toolkits} and rifle-ext into .venv with {stack.python}", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    ran([stack.python, "-m", "venv", str(VENV)])
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["-c", PINS[stack.paddle]]
    ran([*pip, "pip", "setuptools", "wheel"])
    more = ["--extra-index-url", stack.wheel.source] if stack.wheel and stack.wheel.source else []
    ran([*pip, *more, "--editable", f".[{','.join(extras(stack))}]"])
    link(checkouts)


def extras(stack: Stack) -> List[str]:
    """The extras of setup.py for a stack."""
    device = "gpu" if stack.wheel else "cpu"
    if stack.paddle == 2:
        return [device, "seg", "det", "test"]
    needs = [f"{'seg' if source.module == 'paddleseg' else 'det'}-checkout"
             for source in stack.checkouts]  # fmt: skip
    return [f"paddle3-{device}", *needs, "test"]


def clone(source: Source) -> str:
    """Clone a toolkit's newest release; its folder."""
    folder = machine.CLONES / source.name
    machine.CLONES.mkdir(exist_ok=True)
    ran([*source.command.split(), str(folder)])
    return str(folder)


def link(checkouts: Dict[Source, str]) -> None:
    """Let the environment's Python find the toolkits in their checkouts, behind all else."""
    if checkouts:
        (folder,) = VENV.glob("lib/python3.*/site-packages")
        (folder / "toolkits.pth").write_text("\n".join(checkouts.values()) + "\n")


def try_out(stack: Stack) -> None:
    """Compute something on the device, in a process that may crash or hang."""
    command = [str(PYTHON), str(ROOT / "scripts/try_device.py"), "gpu" if stack.wheel else "cpu"]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"no answer within {SECONDS} s") from None
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").strip().splitlines()
        raise Failed(said[-1].strip() if said else f"Python crashed (exit code {done.returncode})")


def ran(command: List[str]) -> None:
    """Run a command to its end; its last words, if it fails."""
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE)
    said = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode:
        last = "\n".join(said.splitlines()[-5:])
        raise Failed(f"`{' '.join(command)}` fails:\n{last}")


def tell(message: str) -> None:
    """Print a message of this script's, so that it is seen between those of others."""
    print(f"rifle-ext: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
