"""A GPU that is not there: where each tensor would be if the default device were one.

Paddle puts what an operation makes onto the place that it is given, else onto the GPU if one of its
operands is there, and onto the default device if it has none; `Tensor.set_value` writes onto the
default device, wherever the tensor was; `Layer.to` moves a layer. That is followed here, tensor by
tensor, while everything is computed on the CPU.
"""

import contextlib
from collections import namedtuple

import paddle
import pytest
from paddle.base import framework

from rifle_ext.runtime.patching import rebound

GPU, CPU = "gpu:0", "cpu"

MAGIC = [f"__{name}__" for name in (
    "add", "sub", "mul", "truediv", "radd", "rsub", "rmul", "rtruediv", "pow", "matmul", "eq", "ne",
    "lt", "gt", "le", "ge",
)]  # fmt: skip
"""Operations that are methods of tensors, not those of `paddle._C_ops`."""


class Place(str):
    """What a tensor says of where it is."""

    def is_cpu_place(self):
        return self == CPU

    def is_gpu_place(self):
        return self == GPU

    def __getattr__(self, name):
        if name.startswith("is_"):  # custom, pinned, ...
            return lambda: False
        raise AttributeError(name)


Made = namedtuple("Made", "by place shape during address")
"""A tensor that was made, or written: by which operation, where, its shape, and during what."""


class PretendGpu:
    """Follows tensors while it is entered.

    Attributes
    ----------
    device
        The default device.
    made
        Tensors that were made, in order.
    written
        Those that were written by `set_value`: `place` is that of the write.
    during
        The innermost `doing` that tensors are made in.
    """

    def __init__(self, monkeypatch):
        self.device, self.during = GPU, None
        self.made, self.written = [], []
        self._kept = []
        self._places = {}
        self._default = {GPU: paddle.CPUPlace(), CPU: paddle.CPUPlace()}
        self._patch(monkeypatch)

    @classmethod
    @contextlib.contextmanager
    def there(cls):
        """One that is there inside."""
        with pytest.MonkeyPatch.context() as monkeypatch:
            pretended = cls(monkeypatch)
            current, parse = framework._current_expected_place, framework._get_paddle_place
            stand_ins = {
                current: lambda: pretended._default[pretended.device],
                parse: lambda place: pretended._default.get(place) or parse(place),
            }
            with rebound(stand_ins):
                yield pretended

    def place(self, tensor):
        """Where a tensor would be; those that were never seen are where they were made: unknown."""
        return self._places.get(tensor.data_ptr())

    @contextlib.contextmanager
    def doing(self, what):
        """Name what happens inside."""
        before, self.during = self.during, what
        try:
            yield
        finally:
            self.during = before

    def of(self, what, place=GPU):
        """What was made somewhere during something."""
        return [made for made in self.made if made.during == what and made.place == place]

    def _patch(self, monkeypatch):
        for module in (paddle, paddle.device):
            monkeypatch.setattr(module, "get_device", lambda: self.device)
            monkeypatch.setattr(module, "set_device", self._set_device)
        for name, operation in vars(paddle._C_ops).items():
            if callable(operation) and not name.startswith("__"):
                monkeypatch.setattr(paddle._C_ops, name, self._followed(name, operation))
        for name in MAGIC:
            method = getattr(paddle.Tensor, name)
            monkeypatch.setattr(paddle.Tensor, name, self._followed(name, method))
        set_value, clone = paddle.Tensor.set_value, paddle.Tensor.clone
        move, to_tensor = paddle.nn.Layer.to, paddle.to_tensor

        def written(tensor, value):
            set_value(tensor, value)
            self.written.append(self._note("set_value", tensor, self.device))

        def to_host(tensor):
            result = clone(tensor)
            self.made.append(self._note("cpu", result, CPU))
            return result

        def cloned(tensor):
            place = self.place(tensor) or self.device
            result = clone(tensor)
            self.made.append(self._note("clone", result, place))
            return result

        def moved(layer, device=None, *args, **kwargs):
            if device is None:
                return move(layer, device, *args, **kwargs)
            for tensor in [*layer.parameters(), *layer.buffers()]:
                if self.place(tensor) != device:
                    self.made.append(self._note("to", tensor, device))
            return layer

        def put(value, *args, **kwargs):
            result = to_tensor(value, *args, **kwargs)
            said = next(filter(None, map(self._named, [*args, *kwargs.values()])), None)
            self.made.append(self._note("to_tensor", result, said or self.device))
            return result

        monkeypatch.setattr(paddle.Tensor, "set_value", written)
        monkeypatch.setattr(paddle.Tensor, "clone", cloned)
        monkeypatch.setattr(paddle.Tensor, "cpu", to_host)
        monkeypatch.setattr(paddle.Tensor, "place", property(lambda t: Place(self.place(t))))
        monkeypatch.setattr(paddle.nn.Layer, "to", moved)
        monkeypatch.setattr(paddle, "to_tensor", put)

    def _set_device(self, device):
        self.device = GPU if device.startswith("gpu") else device

    def _followed(self, name, operation):
        def followed(*args, **kwargs):
            given = [self.place(t) for t in tensors_in([args, list(kwargs.values())])]
            before = {t.data_ptr() for t in tensors_in([args, list(kwargs.values())])}
            said = [where for value in [*args, *kwargs.values()] if (where := self._named(value))]
            args = [paddle.CPUPlace() if isinstance(value, Place) else value for value in args]
            result = operation(*args, **kwargs)
            known = said or [place for place in given if place]
            place = GPU if GPU in known else CPU if CPU in known else self.device
            for tensor in tensors_in([result]):
                if tensor.data_ptr() not in before or said:
                    self.made.append(self._note(name, tensor, place))
            return result

        return followed

    def _named(self, value):
        """The place that an argument is; None if it is none."""
        if isinstance(value, Place):
            return str(value)
        if isinstance(value, (paddle.CPUPlace, paddle.base.core.Place)):
            return GPU if value is self._default[GPU] else CPU
        return None

    def _note(self, by, tensor, place):
        self._places[tensor.data_ptr()] = place
        self._kept.append(tensor)  # so that no other one gets its address
        return Made(by, place, list(tensor.shape), self.during, tensor.data_ptr())


def tensors_in(values):
    """The tensors in nested lists and tuples that have memory."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from tensors_in(value)
        elif isinstance(value, paddle.Tensor) and value._is_initialized():
            yield value
