"""Import components of the user's own, which register themselves with a toolkit."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Optional, Sequence

from rifle_ext.errors import RifleError

IMPORTS = (
    "a module (looked for in the current folder and PYTHONPATH, too) or a .py file that registers "
    "components of your own which the config names; may be given several times"
)
"""What the option `--import` is for."""


def import_components(names: Sequence[str]) -> None:
    """Import what registers the user's own components with a toolkit.

    Parameters
    ----------
    names
        Modules, looked for in the current folder, too, as `python -m` does; or .py files, which run
        as modules of their own name.

    Raises
    ------
    RifleError
        If one cannot be imported, or is a file of the name of another module.
    """
    if names and "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                _import(name)
        except (Exception, SystemExit) as error:
            said = f"--import {name}: {type(error).__name__}: {error}"
            raise RifleError(said, topic="components") from error


def _import(name: str) -> None:
    if not name.endswith(".py"):
        importlib.import_module(name)
        return
    path = Path(name)
    before = sys.modules.get(path.stem)
    _refuse_another(before, path)
    sys.path.insert(0, str(path.resolve().parent))  # as a script finds what stands beside it
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        if before is not None:
            sys.modules[path.stem] = before
        raise


def _refuse_another(loaded: Optional[ModuleType], path: Path) -> None:
    """Raise ImportError if there is a module of a file's name that is not of this file."""
    if loaded is None:
        return
    origin = getattr(loaded, "__file__", None)
    if origin is None or Path(origin).resolve() != path.resolve():
        raise ImportError(
            f"there is a module {path.stem} already, {origin or 'built in'}; rename the file"
        )
