"""Which module of a model is the head around an output layer."""

from __future__ import annotations

from typing import Iterable


def head_of(output: str, names: Iterable[str]) -> str:
    """The outermost module around an output that holds no backbone or neck; at least itself.

    `backbone` and `neck` are the attribute names both toolkits give those parts in every model. A
    module that holds one of them, such as the student of a distillation model, is no head itself.

    Parameters
    ----------
    output
        Structured name of a parameter.
    names
        Structured names of all parameters of the model.
    """
    parts = output.split(".")
    for depth in range(1, len(parts)):
        module = ".".join(parts[:depth])
        inside = [name.split(".") for name in names if name.startswith(f"{module}.")]
        if not any(part.startswith(("backbone", "neck")) for path in inside for part in path):
            return module
    return output
