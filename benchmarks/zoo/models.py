"""What the checks need of the toolkits' models."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Set

from paddle import nn

from rifle_ext.heads.outputs import trainable_parameters
from rifle_ext.runtime.isolation import beside_training
from rifle_ext.runtime.patching import replaced
from rifle_ext.training.hooks import TrainingRun

COUNTS = ("num_classes", "num_joints", "num_identities", "num_identities_dict")


def architecture(model: nn.Layer) -> str:
    """The model's class, with those of its heads where it names them so."""
    model = getattr(model, "student_model", model)
    named = model.named_sublayers()
    heads = {type(layer).__name__ for name, layer in named if _is_head(name, layer)}
    return " + ".join([type(model).__name__, *sorted(heads)])


def _is_head(name: str, layer: nn.Layer) -> bool:
    *outer, own = name.split(".")
    named_so = "head" in own and "Head" in type(layer).__name__
    return named_so and not any("head" in part for part in outer)


def class_dependent(toolkit: str, run: TrainingRun) -> Set[str]:
    """Trainable parameters of another shape where there is one class, joint or identity more."""
    with one_class_more(toolkit), beside_training(seed=0):
        larger = run.rebuild()
    shapes = {name: parameter.shape for name, parameter in larger.named_parameters()}
    trainable = trainable_parameters(run.model)
    return {name for name, parameter in trainable.items() if shapes.get(name) != parameter.shape}


@contextlib.contextmanager
def one_class_more(toolkit: str) -> Iterator[None]:
    """Let a `TrainingRun.rebuild` build with every count of classes in the config raised by one."""
    with _seg_larger() if toolkit == "seg" else _det_larger():
        yield


@contextlib.contextmanager
def _seg_larger() -> Iterator[None]:
    from seg_hooks import rebuild

    build = rebuild.QuietBuilder.build_component

    def build_larger(self: Any, described: Any) -> Any:
        with replaced(rebuild.QuietBuilder, build_component=build):  # parts are raised already
            return build(self, _raised(described))

    with replaced(rebuild.QuietBuilder, build_component=build_larger):
        yield


@contextlib.contextmanager
def _det_larger() -> Iterator[None]:
    from ppdet.core.workspace import create, global_config

    from det_hooks import rebuild

    def create_larger(name: str) -> Any:
        _raise(global_config)  # the rebuild gives it back
        return create(name)

    with replaced(rebuild, create=create_larger):
        yield


def _raised(described: Any) -> Any:
    if isinstance(described, dict):
        return {
            key: _more(value) if key in COUNTS else _raised(value)
            for key, value in described.items()
        }
    return [_raised(item) for item in described] if isinstance(described, list) else described


def _raise(described: Any) -> None:
    if isinstance(described, dict):
        for key, value in list(described.items()):
            if key in COUNTS:
                described[key] = _more(value)
            else:
                _raise(value)
    elif isinstance(described, list):
        for item in described:
            _raise(item)


def _more(count: Any) -> Any:
    if isinstance(count, dict):
        return {key: _more(value) for key, value in count.items()}
    return count + 1 if isinstance(count, int) else count
