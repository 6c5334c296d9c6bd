"""Which stack runs on a machine: a pure function of what was found there.

A stack is an interpreter, a build of paddle and where the toolkits come from. `machine.py` finds
what there is, `make_env.py` installs what is chosen here; both need Python 3.8 and nothing else.
"""

import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rifle_ext.commands.doctor import wheels  # noqa: E402
from rifle_ext.commands.doctor.wheels import PYTHONS_2, PYTHONS_3, Wheel  # noqa: E402

WORLDS = ("paddle2", "paddle3", "cpu")
"""What `WORLD` may be. `cpu`: whichever paddle suits the interpreter, without a GPU."""

PREFERRED_3 = ((3, 12), (3, 11), (3, 10), (3, 9), (3, 13))
"""Newest first, but for those that cannot have both toolkits."""

NO_DETECTION = (3, 13)
"""PaddleDetection's imgaug 0.4.0 needs numpy<2, which does not exist from this Python on."""


class Source(NamedTuple):
    """Where a toolkit for paddle 3 comes from.

    Attributes
    ----------
    name, module, variable
        The repository, what is imported, and the environment variable that names a checkout.
    branch
        The newest release.
    """

    name: str
    module: str
    variable: str
    branch: str

    @property
    def address(self) -> str:
        """The repository."""
        return f"https://github.com/PaddlePaddle/{self.name}"

    @property
    def command(self) -> str:
        """What to type to have it."""
        return f"git clone --depth 1 --branch {self.branch} {self.address}"


SEG = Source("PaddleSeg", "paddleseg", "PADDLESEG_HOME", "release/2.9.1")
DET = Source("PaddleDetection", "ppdet", "PADDLEDETECTION_HOME", "release/2.7.1")


class Gpu(NamedTuple):
    """A GPU that nvidia-smi lists; what it does not know is None."""

    name: str
    capability: Optional[Tuple[int, int]]
    driver: Optional[Tuple[int, ...]]

    def __str__(self) -> str:
        known = self.capability and "{}.{}".format(*self.capability)
        driver = self.driver and ".".join(map(str, self.driver))
        return (
            f"{self.name} (compute capability {known or 'unknown'}, driver {driver or 'unknown'})"
        )


class Machine(NamedTuple):
    """What was found.

    Attributes
    ----------
    pythons
        The interpreters that run and can make environments: paths by version.
    processor
        As `uname -m` has it.
    gpus
        The GPUs of NVIDIA's that may be used.
    gpu_trouble
        Why nothing is known of GPUs, though there may be one; empty: all is well.
    world
        The environment variable WORLD.
    homes
        Checkouts that the environment names, by its variable.
    own_index, git
        Whether Paddle's own package index, and the toolkits' git host, answer.
    """

    pythons: Dict[Tuple[int, int], str]
    processor: str = "x86_64"
    gpus: Tuple[Gpu, ...] = ()
    gpu_trouble: str = ""
    world: str = ""
    homes: Dict[str, str] = {}
    own_index: bool = False
    git: bool = False


class Stack(NamedTuple):
    """What to install.

    Attributes
    ----------
    python
        Path of the interpreter.
    paddle
        2 or 3.
    wheel
        The GPU build; None: that for the CPU.
    checkouts
        For paddle 3: where each toolkit's checkout is; None: to be cloned. With paddle 2 the
        toolkits are packages.
    notes
        What the reader has to know of the choice.
    """

    python: str
    paddle: int
    wheel: Optional[Wheel] = None
    checkouts: Dict[Source, Optional[str]] = {}
    notes: Tuple[str, ...] = ()


class NoStack(Exception):
    """Nothing runs here; the message says what to do."""


def choose(machine: Machine) -> Stack:
    """The stack for a machine.

    Raises
    ------
    NoStack
        Nothing can run there as it is.
    """
    if machine.world and machine.world not in WORLDS:
        raise NoStack(f"WORLD={machine.world}: it may be {', '.join(WORLDS)}, or not set")
    if not machine.pythons:
        raise NoStack(
            "Python 3.8 to 3.13 with the venv module is needed, and none was found on PATH. "
            "Install one, for example with: apt-get install python3 python3-venv"
        )
    lacking: List[str] = []
    for wheel in _wheels(machine, lacking):
        stack = _with_gpu(machine, wheel, lacking)
        if stack is not None:
            return stack
    notes = []
    if machine.gpu_trouble:
        notes.append(f"no GPU is used: {machine.gpu_trouble}")
    if lacking:
        listed = ", ".join(map(str, machine.gpus))
        notes.append(f"the GPU is not used: {listed}. {'. '.join(lacking)}")
    return _on_cpu(machine, tuple(notes))


def _wheels(machine: Machine, lacking: List[str]) -> List[Wheel]:
    """The GPU builds that hold code for the machine's GPUs, best first."""
    if machine.world == "cpu" and machine.gpus:
        lacking.append("WORLD=cpu asks for none")
    if machine.world == "cpu" or not machine.gpus:
        return []
    if machine.processor not in ("x86_64", "AMD64"):
        lacking.append(f"Paddle has no GPU build for {machine.processor}")
        return []
    known = [gpu.capability for gpu in machine.gpus if gpu.capability is not None]
    if known and max(known) < wheels.WHEEL_CODE[0]:
        lacking.append(f"No build that is known here holds code for it; see {wheels.PADDLES_SITE}")
        return []
    # An old card beside a newer one, for the screen, does not keep that from being used.
    usable = [capability for capability in known if capability >= wheels.WHEEL_CODE[0]]
    newest = max(usable, default=None)
    found = []
    if machine.world != "paddle3" and all(map(wheels.has_code_for, usable)):
        found.append(wheels.REGISTRY)
    elif machine.world == "paddle2":
        said = "{}.{}".format(*newest) if newest else "unknown"
        lacking.append(f"{wheels.REGISTRY.requirement} holds no code for compute capability {said}")
    if machine.world != "paddle2":
        found.append(wheels.of_paddle_3(newest))
    return found


def _with_gpu(machine: Machine, wheel: Wheel, lacking: List[str]) -> Optional[Stack]:
    """A stack with a GPU build, if everything else for it is there; says what is not."""
    drivers = [gpu.driver for gpu in machine.gpus if gpu.driver is not None]
    if drivers and min(drivers) < wheel.driver:
        needed = ".".join(map(str, wheel.driver))
        lacking.append(f"{wheel.requirement} (CUDA {wheel.cuda}) needs driver {needed} or newer")
        return None
    if not wheel.source:
        python = _newest(machine, PYTHONS_2)
        if python is None:
            lacking.append(f"{wheel.requirement} needs Python 3.8 to 3.11")
            return None
        return Stack(machine.pythons[python], 2, wheel)
    if not machine.own_index:
        lacking.append(f"{wheel.source} could not be reached; from where it can: {wheel.command}")
        return None
    try:
        return _paddle_3(machine, wheel, ())
    except NoStack as error:
        lacking.append(str(error))
        return None


def _on_cpu(machine: Machine, notes: Tuple[str, ...]) -> Stack:
    """A stack without a GPU."""
    python = _newest(machine, PYTHONS_2)
    if machine.world == "paddle3" or (python is None and machine.world != "paddle2"):
        return _paddle_3(machine, None, notes)
    if python is None:
        there = ", ".join("{}.{}".format(*version) for version in sorted(machine.pythons))
        raise NoStack(f"WORLD=paddle2 needs Python 3.8 to 3.11; there is {there}")
    return Stack(machine.pythons[python], 2, None, {}, notes)


def _paddle_3(machine: Machine, wheel: Optional[Wheel], notes: Tuple[str, ...]) -> Stack:
    """A stack of paddle 3 with the toolkits' checkouts."""
    python = next((version for version in PREFERRED_3 if version in machine.pythons), None)
    if python is None:
        raise NoStack(f"paddle {wheels.PADDLE_3} needs Python 3.9 to 3.13; there is 3.8 only")
    checkouts: Dict[Source, Optional[str]] = {}
    missing = []
    for source in (SEG, DET):
        if source is DET and python >= NO_DETECTION:
            notes += (
                "PaddleDetection is left out: its imgaug needs numpy<2, which does not exist for "
                "Python {}.{}; it runs on Python 3.8 to 3.12".format(*python),
            )
        elif machine.homes.get(source.variable) or machine.git:
            checkouts[source] = machine.homes.get(source.variable) or None
        else:
            missing.append(source)
    if not checkouts:
        older = _newest(machine, PYTHONS_2) is not None
        raise NoStack("\n".join([_how_to_get(missing, python, older), *notes]))
    for source in missing:
        notes += (
            f"{source.name} is left out: {source.variable} is not set and {source.address} could "
            f"not be reached; `{source.command}` elsewhere, and let {source.variable} name it",
        )
    return Stack(machine.pythons[python], 3, wheel, checkouts, notes)


def _how_to_get(missing: List[Source], python: Tuple[int, int], older: bool) -> str:
    """What to do where no toolkit for paddle 3 can be had."""
    several = len(missing) > 1
    variables = " and ".join(source.variable for source in missing)
    said = [
        "With paddle 3 (here on Python {}.{}) the toolkits come from checkouts: ".format(*python)
        + f"{variables} {'are' if several else 'is'} not set, and their git host could not be "
        "reached.",
        "On a machine that reaches it:",
        *(f"    {source.command}" for source in missing),
        "Here, before the same command again:",
        *(f"    export {source.variable}=/path/to/{source.name}" for source in missing),
    ]
    if not older:
        said.append(
            "Or install Python 3.8 to 3.11 (apt-get install python3.11-venv, where there is "
            "one): for that the package registry has everything, with paddle 2.6"
        )
    return "\n".join(said)


def _newest(machine: Machine, suitable: Tuple[Tuple[int, int], ...]) -> Optional[Tuple[int, int]]:
    """The newest of the interpreters that are suitable and there."""
    return max((version for version in suitable if version in machine.pythons), default=None)


assert set(PREFERRED_3) == set(PYTHONS_3)
