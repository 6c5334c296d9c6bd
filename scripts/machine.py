"""What there is on this machine: interpreters, GPUs, checkouts, and what answers on the network."""

import os
import platform
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from stack import DET, SEG, Gpu, Machine, NoStack, Source
from stack import PYTHONS_2 as PYTHONS_WITH_PACKAGES

from rifle_ext.commands.doctor.wheels import HOPPER

ROOT = Path(__file__).resolve().parents[1]
CLONES = ROOT / ".toolkits"
"""Where toolkits are cloned to that no variable names."""

SECONDS = 30
"""How long nvidia-smi may take; with a sick driver it hangs."""

FITS = "import sys, venv, ensurepip; print(*sys.version_info[:2])"


def find(gpus: Tuple[Gpu, ...], trouble: str) -> Machine:
    """The machine, with the GPUs that are known already; asks the network only what may matter."""
    pythons, homes, world = find_pythons(), find_homes(), os.environ.get("WORLD", "")
    newer = world == "paddle3" or gpus or not set(pythons) & set(PYTHONS_WITH_PACKAGES)
    everything = all(source.variable in homes for source in (SEG, DET))
    return Machine(
        pythons=pythons,
        processor=platform.machine(),
        gpus=gpus,
        gpu_trouble=trouble,
        world=world,
        homes=homes,
        own_index=bool(gpus) and answers(f"{HOPPER.source}paddlepaddle-gpu/"),
        git=bool(newer) and not everything and all(map(has_branch, (SEG, DET))),
    )


def find_pythons() -> Dict[Tuple[int, int], str]:
    """Interpreters from 3.8 to 3.13 that run and can make environments, from PATH or pyenv."""
    found: Dict[Tuple[int, int], str] = {}
    folders = os.environ.get("PATH", "").split(os.pathsep)
    folders += map(str, sorted(Path.home().glob(".pyenv/versions/*/bin")))
    names = [f"python3.{minor}" for minor in range(13, 7, -1)] + ["python3", "python"]
    for name in names:
        for folder in folders:
            version = version_of(shutil.which(name, path=folder))
            if version and (3, 8) <= version <= (3, 13):
                found.setdefault(version, str(shutil.which(name, path=folder)))
                break
    return found


def version_of(python: Optional[str]) -> Optional[Tuple[int, int]]:
    """The version of an interpreter, if it runs: pyenv has stand-ins for every one it knows of."""
    try:
        said = printed(python, "-c", FITS).split() if python else []
        return (int(said[0]), int(said[1])) if len(said) == 2 else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def find_homes() -> Dict[str, str]:
    """Checkouts that the environment names, or that were cloned before."""
    found = {}
    for source in (SEG, DET):
        named, cloned = os.environ.get(source.variable), CLONES / source.name
        if named and not (Path(named) / source.module).is_dir():
            raise NoStack(
                f"{source.variable}={named}: no checkout of {source.name} (it has no folder "
                f"{source.module}); have one with: {source.command}"
            )
        if named or (cloned / source.module).is_dir():
            found[source.variable] = os.path.abspath(named or str(cloned))
    return found


def find_gpus() -> Tuple[Tuple[Gpu, ...], str]:
    """The GPUs that nvidia-smi lists, and why nothing is known of them, if so."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shutil.which("nvidia-smi") is None:
        return (), ""
    if hidden is not None and hidden.strip() in ("", "-1"):
        return (), f"CUDA_VISIBLE_DEVICES={hidden!r} hides them"
    for fields in ("name,compute_cap,driver_version", "name,driver_version"):
        command = ("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader")
        try:
            gpus = read_gpus(printed(*command), with_capability="compute_cap" in fields)
        except subprocess.TimeoutExpired:
            return (), f"nvidia-smi did not answer within {SECONDS} s"
        except subprocess.CalledProcessError as error:
            said = (error.stdout or b"").decode("utf-8", "replace").strip().splitlines()
            if "compute_cap" in fields and any("valid field" in line for line in said):
                continue  # drivers before 510 do not know this field
            return (), f"nvidia-smi fails: {said[0] if said else error}"
        except OSError as error:
            return (), f"nvidia-smi cannot be run: {error}"
        return gpus, "" if gpus else "nvidia-smi lists none"
    return (), "nvidia-smi does not say which"


def read_gpus(said: str, with_capability: bool = True) -> Tuple[Gpu, ...]:
    """The GPUs of nvidia-smi's lines; lines that are none are left out.

    Parameters
    ----------
    said
        ``name, compute capability, driver`` a line, without header. The parts of a GPU that is cut
        into several (MIG) are no lines of their own; what is not known is ``[N/A]``.
    with_capability
        Whether the lines have the second field.
    """
    found: List[Gpu] = []
    for line in said.splitlines():
        cells = [cell.strip() for cell in line.rsplit(",", 2 if with_capability else 1)]
        if len(cells) != (3 if with_capability else 2):
            continue  # "No devices were found", "Unable to determine the device handle ..."
        capability = re.fullmatch(r"(\d+)\.(\d+)", cells[1]) if with_capability else None
        driver = re.match(r"\d+(\.\d+)*", cells[-1])
        if not driver and not cells[-1].startswith("["):
            continue
        numbers = driver and tuple(int(number) for number in driver.group().split("."))
        found.append(
            Gpu(cells[0], capability and (int(capability[1]), int(capability[2])), numbers)
        )
    return tuple(found)


def answers(address: str) -> bool:
    """Whether a page can be had."""
    try:
        with urllib.request.urlopen(address, timeout=15) as page:
            return page.status == 200
    except (OSError, ValueError):
        return False


def has_branch(source: Source) -> bool:
    """Whether the git host answers and has the release."""
    command = ["git", "ls-remote", "--exit-code", source.address, f"refs/heads/{source.branch}"]
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            env=quiet,
            timeout=SECONDS,
        ).returncode == 0  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False


def printed(*command: str) -> str:
    """What a short command prints."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SECONDS, check=True
    )
    return done.stdout.decode("utf-8", "replace")
