"""Whether rifle-ext itself is installed and active: pure functions, a finding each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Collection, Mapping, Optional, Sequence

from rifle_ext.commands.doctor.checks import NOTE, OK, PROBLEM, Finding
from rifle_ext.training.environment import VARIABLE

REINSTALL = "in the checkout of rifle-ext: pip install --force-reinstall --no-deps ."
TRAIN_TOOLS = "train with python -m seg_hooks.train or python -m det_hooks.train"


def check_command(prefix: str, executable: str, others: Optional[str]) -> Finding:
    """Whether the command `python`, whose prefix is `others`, is the Python that was looked at."""
    if others is not None and Path(others).resolve() == Path(prefix).resolve():
        return Finding("command", OK, "`python` is this Python")
    found = "there is no `python`" if others is None else f"`python` is another one, of {others}"
    return Finding(
        "command",
        NOTE,
        f"{found}; all that is said here is about {executable}",
        f"activate the environment {prefix}, or write {executable} for python",
    )


def check_package(version: str, folder: Optional[str], installed: Optional[str]) -> Finding:
    """Whether rifle-ext is installed, and its files are those of the installed version."""
    found = f"rifle-ext {version} in {folder}"
    if installed == version:
        return Finding("package", OK, found)
    said = "not installed, only found" if installed is None else f"but {installed} is installed"
    return Finding("package", NOTE, f"{found}, {said}", REINSTALL)


def check_startup(
    active: bool,
    files: Sequence[str],
    environment: Mapping[str, str],
    switches: Collection[str],
    beside: Optional[str] = None,
) -> Finding:
    """Whether this process was started with the start-up file.

    Parameters
    ----------
    active
        Whether it did its work in this process.
    files
        Its paths in the site-packages folders of this Python.
    environment
        The environment variables.
    switches
        Switches among ``-S``, ``-I`` and ``-s`` that Python was started with.
    beside
        The folder of the package, if the file stands there.
    """
    where = f"rifle_ext_startup.pth in {', '.join(str(Path(file).parent) for file in files)}"
    if active:
        return Finding("startup", OK, f"active, {where}" if files else "active")
    if environment.get("RIFLE_EXT_AUTOLOAD") == "0":
        found, mend = "switched off by RIFLE_EXT_AUTOLOAD=0", "unset RIFLE_EXT_AUTOLOAD"
    elif "-S" in switches:
        found, mend = "Python was started with -S, which reads no .pth file", "start it without -S"
    elif files and switches:
        found = f"{where} was left out by {' '.join(switches)}"
        mend = "start Python without it"
    elif files:
        found = (
            f"{where} is there, but did nothing: the package is not installed beside it, or damaged"
        )
        mend = REINSTALL
    elif beside is not None:
        found = (
            f"rifle_ext_startup.pth is in {beside}, as `pip install -t` leaves it, and no Python "
            "reads it there"
        )
        line = f"echo 'import rifle_ext.autoload as a; a.install()' >> {beside}/sitecustomize.py"
        mend = f"with that folder on PYTHONPATH: {line}"
    else:
        found, mend = "rifle_ext_startup.pth is not in site-packages", REINSTALL
    found += "; the toolkits' own train tools ignore the rifle block"
    return Finding("startup", PROBLEM, found, f"{mend}; or {TRAIN_TOOLS}")


def check_adapters(names: Collection[str]) -> Finding:
    """Whether the installation lists the adapters, by the modules they wait for."""
    missing = sorted({"paddleseg.core", "ppdet.engine"} - set(names))
    if not missing:
        return Finding("adapters", OK, f"waiting for {', '.join(sorted(names))}")
    return Finding(
        "adapters", PROBLEM, f"the installation names none for {', '.join(missing)}", REINSTALL
    )


def check_blocks(source: str, keys: Collection[str], problem: str) -> Finding:
    """What the environment lays over the config of every training.

    Parameters
    ----------
    source
        The file, and the variable that names it.
    keys
        Of the blocks in it.
    problem
        Why it cannot be laid over any; empty if it can.
    """
    if problem:
        return Finding(
            "blocks", PROBLEM, f"{problem}; trainings stop", f"mend it, or unset {VARIABLE}"
        )
    found = f"every training heeds {', '.join(sorted(keys))}, from {source}"
    return Finding("blocks", OK, found)


def check_methods(entries: Mapping[str, Any]) -> Finding:
    """Whether each installed method can be loaded: entry points by the keys of their blocks."""
    failed = {}
    for key, entry in sorted(entries.items()):
        try:
            entry.load()
        except Exception as error:
            failed[key] = f"{key} ({type(error).__name__}: {error})"
    sound = ", ".join(key for key in sorted(entries) if key not in failed) or "none"
    if failed:
        return Finding(
            "methods",
            PROBLEM,
            f"{sound} can be loaded; {', '.join(failed.values())} cannot",
            "mend or uninstall the packages that bring them; only configs with their blocks stop",
        )
    if "rifle" not in entries:
        return Finding("methods", PROBLEM, f"the installation names {sound}, no rifle", REINSTALL)
    return Finding("methods", OK, sound)
