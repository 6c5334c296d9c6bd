"""Which code is a library's, with no state that is a model's, and what other code names."""

from __future__ import annotations

import argparse
import collections
import itertools
import sys
import types
from typing import Any, Set, Tuple

_LIBRARIES = frozenset(getattr(sys, "stdlib_module_names", ())) | frozenset(
    ["builtins", "typing", "typing_extensions", "logging", "threading", "abc", "collections"]
    + ["paddle", "numpy", "cv2", "PIL", "scipy", "visualdl", "yaml", "tqdm", "pycocotools"]
    + ["rifle_ext", "seg_hooks", "det_hooks", "torch", "pytest", "_pytest"]
)
_PARTS_OF_TOOLKITS = tuple(
    f"{toolkit}.{part}"
    for toolkit in ("paddleseg", "ppdet")
    for part in ("cvlibs", "core", "utils", "engine", "data", "datasets", "transforms", "optimizer")
)
"""Code whose own state is not a model's; the toolkits' models are looked at like the user's."""

COMPOUND: Tuple[type, ...] = (itertools.cycle, itertools.chain, itertools.islice)
COMPOUND += (enumerate, zip, map)
"""Iterators that draw from others."""

_EMPTY: Tuple[Any, ...] = ([], (), range(0), "", {})
ITERATORS: Tuple[type, ...] = (
    *COMPOUND,
    itertools.count,
    reversed,
    *(type(iter(empty)) for empty in _EMPTY),
)
"""Python's own, which count how far they are and cannot be set back."""

HOLDERS = (
    types.SimpleNamespace,
    argparse.Namespace,
    collections.UserDict,
    collections.UserList,
)
"""Classes of Python's own whose instances hold what a user puts there."""


def is_library(value: Any) -> bool:
    """Whether a class or function is a library's."""
    module = getattr(value, "__module__", None) or "builtins"
    return module.split(".")[0] in _LIBRARIES or module.startswith(_PARTS_OF_TOOLKITS)


def names_in(code: types.CodeType) -> Set[str]:
    """The names a function uses, those of functions inside it included."""
    inner = (names_in(c) for c in code.co_consts if isinstance(c, types.CodeType))
    return set(code.co_names).union(*inner)
