"""Which tensors of a model a toolkit filled from files: its pretrained weights.

Both toolkits load everything through `paddle.nn.Layer.set_state_dict`, from constructors and from
functions of their own, whatever the file is called and wherever it comes from. So that is where it
is noted. A loader that puts pretrained values into the model's own state and sets all of it gives
some tensors themselves: those were not loaded.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

from paddle import Tensor, nn

_NAMES = ("set_state_dict", "set_dict", "load_dict")
"""All names of that one method."""


@dataclass(frozen=True)
class Loaded:
    """What pretrained weights fill of a model.

    Attributes
    ----------
    values
        The loaded tensors, or others that hold what was loaded, by structured name.
    unread
        For tensors that may be filled by a file which is not on this machine (a plan downloads
        nothing): that file, by structured name.
    """

    values: Mapping[str, Tensor] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)


class _Noted:
    """What was loaded in this process: tensors by identity, as long as they live."""

    tensors: Dict[int, Any] = {}
    unread: List[Tuple[Any, str]] = []
    suspended = 0


def note_loading() -> None:
    """Note from now on what is loaded into any model of this process; again does nothing."""
    original = nn.Layer.set_state_dict
    if getattr(original, "_rifle_ext", False):
        return
    noting = _noting(original)
    for name in _NAMES:
        setattr(nn.Layer, name, noting)


@contextlib.contextmanager
def loading_not_noted() -> Iterator[None]:
    """What is loaded inside the block is not pretrained: a resumed checkpoint, an average."""
    _Noted.suspended += 1
    try:
        yield
    finally:
        _Noted.suspended -= 1


def note_unread(layer: nn.Layer, path: str) -> None:
    """Note that a layer was not filled from a file, because that is not on this machine."""
    _Noted.unread.append((weakref.ref(layer), path))


def loaded_into(model: nn.Layer) -> Loaded:
    """What was loaded into a model in this process."""
    named = {**dict(model.named_buffers()), **dict(model.named_parameters())}
    names = {id(tensor): name for name, tensor in named.items()}
    unread = {}
    for reference, path in _Noted.unread:
        layer = reference()
        tensors = () if layer is None else (*layer.parameters(), *layer.buffers())
        unread.update({names[id(t)]: path for t in tensors if id(t) in names})
    return Loaded({name: t for name, t in named.items() if _is_noted(t)}, unread)


def _is_noted(tensor: Tensor) -> bool:
    reference = _Noted.tensors.get(id(tensor))
    return reference is not None and reference() is tensor  # an id alone may be used again


def _noting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def set_state_dict(
        self: nn.Layer, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        structured = args[0] if args else kwargs.get("use_structured_name", True)
        result = original(self, state_dict, *args, **kwargs)
        if not _Noted.suspended:
            with contextlib.suppress(Exception):  # whatever a user's class or dictionary does
                _note(self, state_dict, structured)
        return result

    set_state_dict._rifle_ext = True  # type: ignore[attr-defined]
    return set_state_dict


def _note(layer: nn.Layer, state_dict: Mapping[str, Any], structured: bool) -> None:
    for name, tensor in nn.Layer.state_dict(layer).items():
        given = state_dict.get(name if structured else tensor.name)
        if given is not None and given is not tensor and list(given.shape) == list(tensor.shape):
            _Noted.tensors[id(tensor)] = weakref.ref(tensor)
