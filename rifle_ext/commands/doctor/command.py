"""The command `rifle-ext doctor`: look at the installation and say how to mend what is wrong."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import site
import subprocess
import sys
from dataclasses import asdict
from importlib import metadata, util
from typing import Any, Callable, Dict, List, Optional, Tuple

from rifle_ext import __version__, autoload
from rifle_ext.commands.doctor import answers as with_paddle
from rifle_ext.commands.doctor import checks, startup
from rifle_ext.commands.doctor.checks import OK, PROBLEM, Finding, Package, Toolkit
from rifle_ext.commands.doctor.probe import Answer, probe, unknown
from rifle_ext.entry_groups import entry_group
from rifle_ext.errors import RifleError
from rifle_ext.training import environment
from rifle_ext.training.registry import GROUP as METHODS

PADDLES = ("paddlepaddle", "paddlepaddle-gpu")
OPENCVS = tuple(f"opencv-{kind}" for kind in (
    "python", "contrib-python", "python-headless", "contrib-python-headless"
))  # fmt: skip
LIMIT = 180
"""Seconds that the process that imports paddle may take: the first time it reads gigabytes."""
MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


def add_command(commands: Any) -> None:
    """Add `doctor` to the commands of an argument parser."""
    doctor = commands.add_parser(
        "doctor",
        help="whether the installation is all right, and how to mend it",
        description="Look at Python, paddle, the toolkits, the start-up file, the GPUs and known "
        "conflicts between packages, and say how to mend what is wrong. Changes nothing. The exit "
        "code is 1 if there is a problem.",
    )
    doctor.add_argument("--json", action="store_true", help="print a JSON list")
    doctor.set_defaults(command=run)


def run(chosen: argparse.Namespace) -> int:
    """Print what is found; returns 1 if there is a problem, else 0."""
    findings = examine()
    if chosen.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print("\n".join(map(text, findings)))
    return int(any(finding.status == PROBLEM for finding in findings))


def text(finding: Finding) -> str:
    """One line of text, and one more on how to mend what is not ok."""
    line = f"{MARKS[finding.status]:8}{finding.check}: {finding.found}"
    return line if finding.status == OK else f"{line}\n{'':10}mend: {finding.mend}"


def examine(limit: float = LIMIT) -> List[Finding]:
    """All findings.

    Parameters
    ----------
    limit
        Seconds that the process that imports paddle may take.
    """
    paddles, python = installed(*PADDLES), sys.version_info[:3]
    paddle = paddles[-1] if paddles else None
    learned = learn(limit)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [
        guarded(checks.check_python, python, sys.executable, paddle),
        guarded(startup.check_command, sys.prefix, sys.executable, prefix_of_command()),
        guarded(startup.check_package, __version__, folder("rifle_ext"), version("rifle-ext")),
        guarded(
            startup.check_startup,
            is_active(),
            startup_files(),
            os.environ,
            switches(),
            beside_package(),
        ),  # fmt: skip
        guarded(startup.check_adapters, autoload._adapters()),
        guarded(startup.check_methods, entry_group(METHODS)),
        *([guarded(startup.check_blocks, *blocks_laid_over())] if environment.named_file() else []),
        guarded(checks.check_pydantic, version("pydantic")),
        guarded(checks.check_paddle, paddles, folder("paddle")),
        *(
            guarded(
                checks.check_toolkit, toolkit, folder(toolkit.module), released(toolkit), paddle
            )
            for toolkit in checks.TOOLKITS
        ),
        guarded(
            checks.check_numpy,
            version("numpy"),
            paddle,
            bool(version("paddledet")),
            python,
            folder("ppdet") is not None and released(checks.TOOLKITS[1]) is None,
        ),
        guarded(checks.check_opencv, installed(*OPENCVS), folder("cv2") is not None),
        guarded(checks.check_flag, os.environ.get(checks.FLAG), paddle),
        guarded(with_paddle.check_import, learned["import"], paddle),
        guarded(with_paddle.check_fleet, learned["fleet"], version("protobuf"), paddle),
        guarded(with_paddle.check_png, learned["png"]),
        guarded(with_paddle.check_gpu, learned["gpu"], listed_gpus(), visible),
        guarded(with_paddle.check_capability, learned["gpu"], paddle),
        guarded(with_paddle.check_convolution, learned["convolution"]),
    ]


def blocks_laid_over() -> Tuple[str, List[str], str]:
    """The file of blocks that the environment names, their keys, and what is wrong with it."""
    source = environment.source()
    try:
        return source, list(environment.laid_over({}, "a config", entry_group(METHODS))), ""
    except RifleError as error:
        return source, [], str(error)


def guarded(check: Callable[..., Finding], *given: Any) -> Finding:
    """What a check finds; its own failure, if it fails."""
    try:
        return check(*given)
    except Exception as error:
        found = f"the check itself failed: {type(error).__name__}: {error}"
        mend = "nothing you did wrong: please report it to the makers of rifle-ext"
        return Finding(check.__name__.replace("check_", ""), PROBLEM, found, mend)


def learn(limit: float) -> Dict[str, Answer]:
    """What a process that imports paddle tells, if there is a paddle."""
    if folder("paddle") is None:
        return unknown("there is no paddle")
    try:
        return probe(limit)
    except Exception as error:
        return unknown(f"no other Python could be asked: {type(error).__name__}: {error}")


def installed(*names: str) -> List[Package]:
    """Those of some distributions that are installed."""
    found = []
    for name in names:
        with contextlib.suppress(Exception):  # half removed ones raise this and that
            found.append(Package(name, str(metadata.distribution(name).metadata["Version"])))
    return [package for package in found if package.version != "None"]


def version(name: str) -> Optional[str]:
    """The installed version of a distribution, if it is installed."""
    return next((package.version for package in installed(name)), None)


def folder(module: str) -> Optional[str]:
    """Where a module would be imported from; it is not imported."""
    try:
        spec = util.find_spec(module)
    except Exception:  # import hooks of other packages
        return None
    return next(iter([*(spec.submodule_search_locations or ()), spec.origin])) if spec else None


def released(toolkit: Toolkit) -> Optional[str]:
    """The version of a toolkit, unless its module comes from a checkout."""
    try:
        found = metadata.distribution(toolkit.package)
        # Absent for what comes from a package index.
        source = found.read_text("direct_url.json") or "archive_info"
        own = os.path.samefile(str(found.locate_file(toolkit.module)), str(folder(toolkit.module)))
    except Exception:
        return None
    return found.version if own and "archive_info" in source else None


def prefix_of_command() -> Optional[str]:
    """The environment of the command `python`, if there is one."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return printed("python", "-c", "import sys; print(sys.prefix)").strip() or None
    return None


def listed_gpus() -> List[str]:
    """The GPUs that the NVIDIA driver lists."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        lines = printed("nvidia-smi", "-L").splitlines()
        return [line.partition(" (UUID")[0] for line in lines if line.startswith("GPU")]
    return []


def printed(*command: str) -> str:
    """What a short command prints."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=True
    )
    return done.stdout.decode("utf-8", "replace")


def is_active() -> bool:
    """Whether the start-up file has done its work in this process."""
    return any(type(finder).__name__ == "_ToolkitFinder" for finder in sys.meta_path)


def startup_files() -> List[str]:
    """The start-up files in the site-packages folders of this Python."""
    folders = [*getattr(site, "getsitepackages", list)(), site.getusersitepackages()]
    paths = [os.path.join(folder, "rifle_ext_startup.pth") for folder in folders]
    return [path for path in paths if os.path.isfile(path)]


def beside_package() -> Optional[str]:
    """The folder of the package, if the start-up file stands there and it is no checkout."""
    beside = os.path.dirname(folder("rifle_ext") or "")
    names = os.listdir(beside) if beside else []
    return beside if "rifle_ext_startup.pth" in names and "setup.py" not in names else None


def switches() -> List[str]:
    """The switches of Python that leave site-packages out."""
    flags = sys.flags
    given = {"-S": flags.no_site, "-I": flags.isolated, "-s": flags.no_user_site}
    return [switch for switch, is_set in given.items() if is_set]
