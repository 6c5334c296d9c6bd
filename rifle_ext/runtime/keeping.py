"""Note what everything reachable from some objects holds, and give it back.

A model may count its calls, draw from generators of its own, average a teacher, or fill a list from
a hook. To run such a model on the side without a trace, the state behind it is noted first: that of
its instances, of their classes, and of the globals and closures that their code names. What is
noted is the content of each object, so all of them stay the same objects.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import functools
import random
import types
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

import numpy as np
from paddle import Tensor, nn

from rifle_ext.runtime.libraries import COMPOUND, HOLDERS, ITERATORS, is_library, names_in

_SHARED_STREAMS = (vars(random)["_inst"], vars(np.random.mtrand)["_rand"])
"""What `random` and `numpy.random` draw from; `own_random_streams` sees to them."""


class Kept:
    """What everything reachable from some objects holds now.

    Parameters
    ----------
    roots
        Models, classes, functions or any other objects.
    leave
        Tensors that are not to be given back, and so are not copied.
    names
        Note which objects the names of classes and modules stand for, too; without, only what the
        objects hold that they stand for now.
    """

    def __init__(
        self, roots: Iterable[Any], leave: Iterable[Tensor] = (), names: bool = True
    ) -> None:
        self._names = names
        self._seen: Dict[int, Any] = {}  # kept alive: an id is unique among living objects
        self._restore: List[Callable[[], None]] = []
        self._copies: Dict[int, Any] = {}
        for tensor in leave:
            self._seen[id(tensor)] = tensor
        ahead = list(roots)
        while ahead:
            value = ahead.pop()
            kind: Any = type(value)
            note = None if id(value) in self._seen else _way_to_note(kind)
            if note is not None:
                self._seen[id(value)] = value
                ahead.extend(note(self, value))

    def restore(self) -> None:
        """Give all of it back; objects that have not changed are not touched."""
        for restore in self._restore:
            restore()

    def _note_tensor(self, tensor: Tensor) -> Iterable[Any]:
        # A recurrent layer keeps a buffer for cuDNN that holds nothing until it is used.
        if tensor._is_initialized():
            value = tensor.clone().detach()
            self._restore.append(lambda: tensor.set_value(value))
        return ()

    def _note_array(self, array: np.ndarray) -> Iterable[Any]:
        if array.flags.writeable:
            value = array.copy()
            self._restore.append(lambda: np.copyto(array, value))
        return list(array.flat) if array.dtype == object else ()

    def _note_stream(self, stream: Any) -> Iterable[Any]:
        if any(stream is s for s in _SHARED_STREAMS) or isinstance(stream, random.SystemRandom):
            return ()
        if isinstance(stream, random.Random):
            pythons = stream.getstate()
            self._restore.append(lambda: stream.setstate(pythons))
        elif isinstance(stream, np.random.RandomState):
            numpys = stream.get_state()
            self._restore.append(lambda: stream.set_state(numpys))
        else:
            bits = getattr(stream, "bit_generator", stream)
            state = copy.deepcopy(bits.state)
            self._restore.append(lambda: setattr(bits, "state", state))
        return ()

    def _note_mapping(self, mapping: dict) -> Iterable[Any]:
        content = dict(mapping)

        def restore() -> None:
            same = len(mapping) == len(content) and all(
                a is b and mapping[a] is content[b] for a, b in zip(mapping, content)
            )
            if not same:
                mapping.clear()
                mapping.update(content)

        self._restore.append(restore)
        if _iterators_among(content.values()):
            for key, item in content.items():
                if isinstance(item, ITERATORS):
                    mapping[key] = self._copy_of(item)
        return list(content.values())

    def _note_sequence(self, sequence: Any) -> Iterable[Any]:
        content = list(sequence)

        def restore() -> None:
            now = list(sequence)
            if len(now) != len(content) or any(a is not b for a, b in zip(now, content)):
                sequence.clear()
                sequence.extend(content)

        self._restore.append(restore)
        if _iterators_among(content):
            for index, item in enumerate(content):
                if isinstance(item, ITERATORS):
                    sequence[index] = self._copy_of(item)
        return content

    def _note_set(self, members: set) -> Iterable[Any]:
        content = set(members)

        def restore() -> None:
            if members != content:
                members.clear()
                members.update(content)

        self._restore.append(restore)
        return ()

    def _note_function(self, function: types.FunctionType) -> Iterable[Any]:
        if is_library(function):
            return ()
        ahead = [function.__defaults__, function.__kwdefaults__, function.__dict__]
        for cell in function.__closure__ or ():
            ahead += self._note_cell(cell)
        namespace = function.__globals__
        for name in names_in(function.__code__):
            if name in namespace:
                self._note_name(namespace, name)
                ahead.append(namespace[name])
        return ahead

    def _note_cell(self, cell: Any) -> List[Any]:
        try:
            value = cell.cell_contents
        except ValueError:  # still empty
            return []

        def restore() -> None:
            cell.cell_contents = value

        self._restore.append(restore)
        if isinstance(value, ITERATORS):
            cell.cell_contents = self._copy_of(value)
        return [value]

    def _note_name(self, namespace: Dict[str, Any], name: str) -> None:
        value = namespace[name]
        if isinstance(value, types.ModuleType) or (
            not self._names and not isinstance(value, ITERATORS)
        ):
            return
        self._restore.append(lambda: namespace.__setitem__(name, value))
        if isinstance(value, ITERATORS):
            namespace[name] = self._copy_of(value)

    def _note_class(self, kind: type) -> Iterable[Any]:
        if is_library(kind):
            return ()
        ahead: List[Any] = list(kind.__mro__[1:])
        for name, value in list(vars(kind).items()):
            if name.startswith("__") and name.endswith("__") and not callable(value):
                continue
            ahead.append(value)
            swapped = isinstance(value, ITERATORS)
            if swapped or (self._names and not callable(value) and not hasattr(value, "__get__")):
                self._note_attribute(kind, name, value)
        return ahead

    def _note_attribute(self, kind: type, name: str, value: Any) -> None:
        def restore() -> None:
            if vars(kind).get(name) is not value:
                setattr(kind, name, value)

        self._restore.append(restore)
        if isinstance(value, ITERATORS):
            setattr(kind, name, self._copy_of(value))

    def _note_instance(self, value: Any) -> Iterable[Any]:
        kind = type(value)
        if isinstance(value, HOLDERS):
            return [vars(value)]
        if is_library(kind) and not isinstance(value, nn.Layer):
            return [getattr(value, "_dygraph_function", None)]  # of paddle.jit.to_static
        ahead: List[Any] = [kind]
        if hasattr(value, "__dict__"):
            ahead.append(vars(value))
        for name in _slots(kind):
            if hasattr(value, name):
                ahead.append(self._note_slot(value, name))
        return ahead

    def _note_slot(self, owner: Any, name: str) -> Any:
        value = getattr(owner, name)

        def restore() -> None:
            if getattr(owner, name, None) is not value:
                setattr(owner, name, value)

        self._restore.append(restore)
        return value

    def _copy_of(self, iterator: Any) -> Any:
        """Stands in for an iterator, which cannot be set back."""
        if id(iterator) not in self._copies:
            copied = copy.deepcopy if isinstance(iterator, COMPOUND) else copy.copy
            try:
                self._copies[id(iterator)] = copied(iterator)
            except Exception:  # whatever cannot be copied
                self._copies[id(iterator)] = iterator
        return self._copies[id(iterator)]


_PLAIN: Tuple[type, ...] = (
    (str, bytes, int, float, complex, type(None), types.ModuleType, types.CodeType, np.generic)
    + (np.dtype, types.GetSetDescriptorType, types.MemberDescriptorType)
    + ITERATORS
)

_Note = Callable[[Kept, Any], Iterable[Any]]
"""Notes what an object holds; returns what to look at next."""

_NOTES: Tuple[Tuple[Any, _Note], ...] = (
    (Tensor, Kept._note_tensor),
    (np.ndarray, Kept._note_array),
    (
        (random.Random, np.random.RandomState, np.random.Generator, np.random.BitGenerator),
        Kept._note_stream,
    ),
    (dict, Kept._note_mapping),
    ((list, collections.deque, bytearray), Kept._note_sequence),
    (set, Kept._note_set),
    ((tuple, frozenset), lambda kept, value: value),
    (types.FunctionType, Kept._note_function),
    (types.BuiltinFunctionType, lambda kept, value: (getattr(value, "__self__", None),)),
    (types.MethodType, lambda kept, value: (value.__func__, value.__self__)),
    ((staticmethod, classmethod), lambda kept, value: (value.__func__,)),
    (property, lambda kept, value: (value.fget, value.fset)),
    (functools.partial, lambda kept, value: (value.func, value.args, value.keywords)),
)


@functools.lru_cache(maxsize=None)  # hundreds of thousands of objects are of a few hundred classes
def _way_to_note(kind: type) -> Optional[_Note]:
    """How instances of a class are noted; None if they hold nothing that could change."""
    if issubclass(kind, _PLAIN):
        return None
    for known, note in _NOTES:
        if issubclass(kind, known):
            return note
    return Kept._note_class if issubclass(kind, type) else Kept._note_instance


def _iterators_among(values: Iterable[Any]) -> bool:
    return any(issubclass(kind, ITERATORS) for kind in set(map(type, values)))


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        names = vars(base).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name not in ("__dict__", "__weakref__") and not is_library(base):
                yield name


@contextlib.contextmanager
def kept_beside(model: nn.Layer) -> Iterator[None]:
    """Build other models of the same classes: what their code draws from and fills is given back.

    Counters of classes and modules go on, as they count what is built.
    """
    tensors = [*(p for _, p in model.named_parameters()), *(b for _, b in model.named_buffers())]
    kept = Kept([model], leave=[t for t in tensors if t is not None], names=False)
    try:
        yield
    finally:
        kept.restore()
