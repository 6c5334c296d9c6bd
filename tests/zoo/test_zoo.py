"""Output layers and order of execution of many architectures, through `rifle-ext plan --synthetic`.

`tests/data/zoo` holds a small config for each and, in `expected.yml`, the layers that are its
outputs and the class-dependent parameters that are not. Every architecture of the zoos as they are,
full size, is in docs/zoo.md.
"""

import traceback
import weakref

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT

from benchmarks.zoo.models import architecture, class_dependent
from rifle_ext.commands.training_options import toolkits
from rifle_ext.heads.execution import execution
from rifle_ext.heads.outputs import own_parameters, tensors_in, trainable_parameters
from rifle_ext.heads.probing import nothing_saved, probing
from rifle_ext.methods.freeze_out.plan import freezing_layers
from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.redraw.reset import write
from rifle_ext.redraw.size import SMALL, root_mean_square
from rifle_ext.runtime.patching import replaced
from rifle_ext.training.freezing import Frozen
from rifle_ext.training.setup import Request
from seg_hooks import probe

ZOO = ROOT / "tests/data/zoo"
EXPECTED = yaml.safe_load((ZOO / "expected.yml").read_text())
CASES = [(toolkit, name) for toolkit in ("seg", "det") for name in sorted(EXPECTED[toolkit])]

NOT_WITH_PADDLE_3 = {
    "isanet", "ppyoloe_contrast", "queryinst", "higher_hrnet", "higher_hrnet_swahr", "jde"
}  # fmt: skip
"""Models that the toolkits themselves, the newest release or the development branch, cannot run
with paddle 3."""

MATCHED_BY_PREDICTIONS = {"yolof"}
"""Models whose loss takes the boxes that are predicted best, so worse ones where all are alike."""

SIDES = {"unet_3plus": 32}
"""Of the images, smaller than the probe's: UNet3+ takes 7 seconds for one of those."""

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize(("toolkit", "name"), CASES)
def test_outputs_are_found_and_redrawn_faithfully(toolkit, name):
    expected = EXPECTED[toolkit][name]
    request = Request(str(ZOO / toolkit / f"{name}.yml"), synthetic=True, images=8)
    paddle.seed(0)  # GFL's loss is 1.06 to 1.1 times that of its constants, by what is drawn
    side = SIDES.get(name, 64)
    with replaced(probe, SMALL=(side, side)), toolkits()[toolkit].load()(request) as (_, run):
        built_again = watched(run)
        plan = planned(run, name)
        assert [model() for model in built_again] == [None], "the second model is kept"
        assert architecture(run.model) == expected["architecture"]
        assert sorted(plan.layers) == sorted(expected["outputs"])
        others = class_dependent(toolkit, run) - set(plan.selection.parameters)
        assert sorted(others) == sorted(expected.get("not_outputs", []))
        assert with_a_gradient_past_cut_layers(run, sorted(others)) == []
        built = {tensor: t.numpy() for tensor, t in plan.selection.tensors.items()}
        drawn = [plan.draw(index) for index in (1, 2)]
        first, second = ({n: t.numpy() for n, t in values.items()} for values in drawn)
        small, none = (
            loss(run, plan, shrunk(drawn[0], factor, plan._drawing._inputs)) for factor in (1, 1e-3)
        )
        # The defaults begin where their constants alone would: an even guess, the focal prior.
        assert small < 1.1 * none
        assert small > 0.9 * none or name in MATCHED_BY_PREDICTIONS
        freezes_and_trains_on(run, plan.selection.parameters)
    inputs = plan._drawing._inputs
    for tensor, values in built.items():
        if np.array_equal(first[tensor], second[tensor]):  # no draw: constants, a table of anchors
            assert np.array_equal(first[tensor], values), tensor
        else:
            assert not np.array_equal(first[tensor], values), tensor
            if values.size >= 1000:
                size = np.sqrt(np.square(values).mean())
                factor = min(1.0, SMALL / np.sqrt(inputs[tensor]) / size) if tensor in inputs else 1
                assert first[tensor].std() == pytest.approx(factor * values.std(), rel=0.15), tensor


def shrunk(values, factor, inputs):
    """Random weights times a factor."""
    random = [n for n in inputs if root_mean_square(values[n]) > 0]
    return {n: v * factor if n in random else v for n, v in values.items()}


def loss(run, plan, values):
    """The loss with some values in the output layers; of outputs, against an even guess."""
    write(plan.selection.tensors, values)
    with probing(run.model), paddle.no_grad():
        outputs = run.forward()
    if isinstance(outputs, dict) and "loss" in outputs:
        return float(outputs["loss"])
    tensors = [t for t in tensors_in(outputs) if t.dtype == paddle.float32]
    if run.gives_losses:
        return sum(float(t.sum()) for t in tensors)
    log_softmax = paddle.nn.functional.log_softmax
    return sum(float(-log_softmax(t, axis=1).mean() if t.ndim == 4 else t.mean()) for t in tensors)


def freezes_and_trains_on(run, outputs):
    """Layers have an order; with half of them frozen it trains; with all, less goes backwards."""
    trainable = trainable_parameters(run.model)
    chosen = {name: p for name, p in trainable.items() if name not in outputs}
    ran = execution(run.model, run.forward)
    layers = freezing_layers(run.model, ran, chosen)
    assert len(layers) > 3 and layers[0].name != layers[-1].name
    whole = operations_backwards(run)
    frozen = Frozen(run)
    half = len(layers) // 2
    freeze(frozen, run.model, layers[:half])
    with probing(run.model):
        floats = [t for t in tensors_in(run.forward()) if t.dtype == paddle.float32]
        paddle.add_n([t.mean() for t in floats if not t.stop_gradient]).backward()
        run.optimizer.step()
        learning = {name for name, p in trainable.items() if p.grad is not None}
        assert learning and not learning & {n for x in layers[:half] for n in x.parameters}
        run.optimizer.clear_grad(set_to_zero=False)
    freeze(frozen, run.model, layers[half:])
    head = operations_backwards(run)
    frozen.restore()
    assert head < 0.9 * whole


def freeze(frozen, model, layers):
    named = dict(model.named_sublayers(include_self=True))
    parameters = {name: p for layer in layers for name, p in layer.parameters.items()}
    frozen.add(parameters, [named[name] for layer in layers for name in layer.normalizations])


def operations_backwards(run):
    """How many operations a backward pass would have."""
    with probing(run.model), nothing_saved():
        ahead = [t.grad_fn for t in tensors_in(run.forward()) if t.grad_fn is not None]
        found = set()
        while ahead:
            node = ahead.pop()
            if node.node_ptr() not in found:
                found.add(node.node_ptr())
                ahead += [operand for operand in node.next_functions if operand is not None]
    return len(found)


def planned(run, name):
    """The plan; a few models that the toolkits cannot run with paddle 3 yet are skipped there."""
    try:
        return Plan(RifleConfig(), run)
    except Exception as error:
        last = traceback.extract_tb((error.__cause__ or error).__traceback__)[-6:]
        theirs = [f for f in last if "/ppdet/" in f.filename or "/paddleseg/" in f.filename]
        if name in NOT_WITH_PADDLE_3 and theirs and paddle.__version__.startswith("3"):
            said = str(error).strip().splitlines()[-1]
            pytest.skip(
                f"{theirs[-1].filename.rpartition('/')[2]} cannot run with paddle 3: {said}"
            )
        raise


def with_a_gradient_past_cut_layers(run, names):
    """A second way to tell outputs, apart from the graph: cut each layer off from its inputs.

    Which of the parameters then still get a gradient from the outputs, so are output layers.
    """
    if not names:
        return []
    named = dict(run.model.named_parameters())
    handles = [
        layer.register_forward_pre_hook(lambda _, inputs: detached(inputs))
        for layer in run.model.sublayers()
        if any(p.ndim > 1 and not p.stop_gradient for p in own_parameters(layer).values())
    ]
    try:
        with probing(run.model):
            outputs = [t for t in tensors_in(run.forward()) if not t.stop_gradient]
            total = paddle.add_n([t.astype("float32").sum() for t in outputs])
            wanted = [named[name] for name in names]
            gradients = paddle.grad(total, wanted, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    return [name for name, gradient in zip(names, gradients) if gradient is not None]


def detached(value):
    if isinstance(value, paddle.Tensor):
        return value.detach()
    if isinstance(value, (list, tuple)):
        return type(value)(detached(item) for item in value)
    return value


def watched(run):
    """Weak references to the models that `run` will build again."""
    models, rebuild = [], run.rebuild

    def watched_rebuild():
        model = rebuild()
        models.append(weakref.ref(model))
        return model

    run.rebuild = watched_rebuild
    return models


def test_there_are_as_many_architectures_as_promised():
    def architectures(toolkit):
        return {case["architecture"] for case in EXPECTED[toolkit].values()}

    assert len(architectures("seg")) >= 25
    assert len(architectures("det")) >= 20
