"""The initializers a `rifle:` block may name, with their arguments.

A closed list: a config is data, and nothing it names can import or run anything else. Each class
builds the class of the same name in `paddle.nn.initializer`, except `VarianceScaling`, which Paddle
lacks. `fan_in` and `fan_out` are what Paddle counts: for a linear layer its inputs and outputs, for
a convolution's weight of shape [m, n, height, width] ``n * height * width`` and
``m * height * width``.
"""

from __future__ import annotations

from typing import Any, Dict, Literal, Mapping, Optional, Sequence, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from typing_extensions import Annotated

from rifle_ext.errors import did_you_mean
from rifle_ext.runtime.numbers import Number, Positive


class _Initializer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str

    def build(self) -> Any:
        """The `paddle.nn.initializer.Initializer` described, with Paddle's own defaults."""
        import paddle

        arguments = self.model_dump(exclude={"type"}, exclude_unset=True)
        return getattr(paddle.nn.initializer, self.type)(**arguments)


class Constant(_Initializer):
    """Every value the same."""

    type: Literal["Constant"]
    value: Number = 0.0


class Normal(_Initializer):
    """Normal distribution."""

    type: Literal["Normal"]
    mean: Number = 0.0
    std: Positive = 1.0


class TruncatedNormal(_Initializer):
    """Normal distribution (mean, std) cut at two standard deviations from its mean.

    What is left has 0.8796 times the standard deviation.
    """

    type: Literal["TruncatedNormal"]
    mean: Number = 0.0
    std: Positive = 1.0

    def build(self) -> Any:
        """Paddle's, with the cuts at two standard deviations in every version."""
        from rifle_ext.runtime.compat import truncated_normal

        return truncated_normal(self.mean, self.std)


class Uniform(_Initializer):
    """Uniform distribution over [low, high)."""

    type: Literal["Uniform"]
    low: Number = -1.0
    high: Number = 1.0

    @model_validator(mode="after")
    def _low_to_high(self) -> Uniform:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


class XavierNormal(_Initializer):
    """Glorot and Bengio (2010), normal: std = sqrt(2 / (fan_in + fan_out))."""

    type: Literal["XavierNormal"]
    fan_in: Optional[Positive] = None
    fan_out: Optional[Positive] = None


class XavierUniform(_Initializer):
    """Glorot and Bengio (2010), uniform: bound = sqrt(6 / (fan_in + fan_out))."""

    type: Literal["XavierUniform"]
    fan_in: Optional[Positive] = None
    fan_out: Optional[Positive] = None


class KaimingNormal(_Initializer):
    """He et al. (2015), normal: std = gain / sqrt(fan_in). Also known as MSRA."""

    type: Literal["KaimingNormal"]
    fan_in: Optional[Positive] = None
    negative_slope: Number = 0.0
    nonlinearity: Literal["relu", "leaky_relu", "linear", "tanh", "sigmoid"] = "relu"


class KaimingUniform(_Initializer):
    """He et al. (2015), uniform: bound = gain * sqrt(3 / fan_in). Also known as MSRA."""

    type: Literal["KaimingUniform"]
    fan_in: Optional[Positive] = None
    negative_slope: Number = 0.0
    nonlinearity: Literal["relu", "leaky_relu", "linear", "tanh", "sigmoid"] = "relu"


class Orthogonal(_Initializer):
    """Saxe et al. (2013): (semi-)orthogonal matrices."""

    type: Literal["Orthogonal"]
    gain: Positive = 1.0


class VarianceScaling(_Initializer):
    """Variance ``scale / n``, n as `mode` says; see `rifle_ext.redraw.variance_scaling`."""

    type: Literal["VarianceScaling"]
    scale: Positive = 1.0
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in"
    distribution: Literal["truncated_normal", "uniform"] = "truncated_normal"

    def build(self) -> Any:
        """A `rifle_ext.redraw.variance_scaling.VarianceScaling`."""
        from rifle_ext.redraw import variance_scaling

        return variance_scaling.VarianceScaling(self.scale, self.mode, self.distribution)


class LSUV(_Initializer):
    """Mishkin and Matas (2016): orthonormal, then scaled on a training batch to `variance`.

    That of the layer's output; see `rifle_ext.redraw.lsuv`.
    """

    type: Literal["LSUV"]
    variance: Positive = 1.0

    def build(self) -> Any:
        """The orthonormal weights that are scaled later."""
        import paddle

        return paddle.nn.initializer.Orthogonal()


def _from_name(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


InitializerSpec = Annotated[
    Annotated[
        Union[
            Constant,
            Normal,
            TruncatedNormal,
            Uniform,
            XavierNormal,
            XavierUniform,
            KaimingNormal,
            KaimingUniform,
            Orthogonal,
            VarianceScaling,
            LSUV,
        ],
        Field(discriminator="type"),
    ],
    BeforeValidator(_from_name),
]
"""An initializer by name, or a mapping with `type` and arguments."""

BiasInitializerSpec = Annotated[
    Annotated[
        Union[Constant, Normal, TruncatedNormal, Uniform],
        Field(discriminator="type"),
    ],
    BeforeValidator(_from_name),
]
"""One that needs no fans, which a tensor of one dimension does not have."""

INITIALIZERS: Dict[str, Any] = {cls.__name__: cls for cls in _Initializer.__subclasses__()}
"""Those for weights, by name."""

BIAS_INITIALIZERS: Dict[str, Any] = {
    cls.__name__: cls for cls in (Constant, Normal, TruncatedNormal, Uniform)
}
"""Those for biases, by name."""


def wrong_initializer(
    said: str, value: object, initializers: Mapping[str, Any], words: Sequence[str]
) -> str:
    """Why an initializer is refused: the name, or the first wrong argument of a known one.

    Parameters
    ----------
    said
        What the message begins with.
    value
        What the user wrote.
    initializers
        Those that may stand there, by name.
    words
        What else may.
    """
    if isinstance(value, dict) and "type" not in value:
        return f"{said}: `type` is missing: name the initializer, as in {{type: Normal, std: 0.01}}"
    name: object = value.get("type") if isinstance(value, dict) else value
    if not isinstance(name, str) or name not in initializers:
        hint = did_you_mean(name, [*initializers, *words]) if isinstance(name, str) else ""
        return (
            f"{said}: no such initializer{hint} (allowed: {', '.join(words)}, or one of "
            f"{', '.join(initializers)}, alone or as {{type: name, argument: value}})"
        )
    known = initializers[name]
    arguments = [field for field in known.model_fields if field != "type"]
    try:
        known.model_validate(_from_name(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        argument = str(first["loc"][0]) if first["loc"] else name
        if first["type"] == "extra_forbidden":
            hint = did_you_mean(argument, arguments)
            has = ", ".join(arguments)
            return f"{said}: {name} has no argument {argument}{hint} (it has {has})"
        return f"{said}: {argument}: {first['msg'].replace('Value error, ', '')}"
    raise AssertionError(f"{value!r} is a valid initializer")
