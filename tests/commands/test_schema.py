"""The schema for editors accepts what the block's parser accepts, as far as a schema can say it."""

import copy
import json

import jsonschema
import pytest
import yaml
from blocks import BLOCKS, EXAMPLES, blocks, values
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rifle_ext import cli
from rifle_ext.commands.schema import PATH, schema
from rifle_ext.errors import RifleError
from rifle_ext.redraw.initializers import BIAS_INITIALIZERS, INITIALIZERS
from rifle_ext.training.block_models import block_models
from rifle_ext.training.blocks import parse

MODELS = block_models(own=True)
VALIDATOR = jsonschema.Draft7Validator(schema())
CONFIGS = sorted((ROOT / "configs").rglob("*.yml"))


class AnyTag(yaml.SafeLoader):
    """Reads PaddleDetection's tags (`!COCODataSet`) as the mappings they stand before."""


AnyTag.add_multi_constructor("!", lambda loader, tag, node: loader.construct_mapping(node, True))


def accepted(block, key="rifle"):
    """Whether the schema accepts a config with this block."""
    return VALIDATOR.is_valid({"architecture": "any", key: block})


def parsed(block, key="rifle"):
    """Whether the parser accepts it."""
    try:
        parse(MODELS[key], key, copy.deepcopy(block), "config")
    except RifleError:
        return False
    return True


def is_json(value):
    """Whether a schema has anything to say of the value: dates and bytes are no JSON."""
    try:
        return json.loads(json.dumps(value)) == value
    except (TypeError, ValueError):
        return False


def test_the_file_is_the_schema_and_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(schema())
    written = json.loads(PATH.read_text())
    assert written == schema(own=True), "run python -m rifle_ext.commands.schema"


def test_the_command(capsys):
    assert cli.main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()
    assert cli.main(["schema", "--path"]) == 0
    assert capsys.readouterr().out == f"{PATH}\n"


def test_every_key_and_argument_is_described_or_has_its_default():
    assert set(MODELS) >= {"rifle", "freeze_out", "lwf"}
    for name, model in MODELS.items():
        block = schema()["properties"][name]
        assert set(block["properties"]) == set(model.model_fields)
        for key, field in model.model_fields.items():
            assert block["properties"][key]["description"] == field.description
            default = getattr(field.default, "model_dump", lambda value=field.default: value)()
            assert block["properties"][key]["default"] == default
    definitions = schema()["definitions"]["rifle"]
    assert set(definitions) == {*INITIALIZERS, "HeadRate", "Distillation"}
    for name, initializer in INITIALIZERS.items():
        assert set(definitions[name]["properties"]) == set(initializer.model_fields)
        assert definitions[name]["description"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_ready_configs_are_valid(path):
    VALIDATOR.validate(yaml.load(path.read_text(), AnyTag))


def test_ready_configs_have_blocks():
    with_blocks = [p for p in CONFIGS if "rifle" in yaml.load(p.read_text(), AnyTag)]
    assert {p.parent.name for p in with_blocks} >= {"seg", "det"}


@pytest.mark.parametrize(
    "block",
    [
        None, True, False, {},
        {"re_init_epoch": 2, "re_init_iter": None}, {"re_init_epoch": None, "re_init_iter": 2},
        {"max_re_num": None}, {"head_lr": None}, {"head_lr": "cyclic", "optimizer_state": "keep"},
        {"layers": ["head.*"]}, {"weight_initializer": "original"}, {"bias_initializer": None},
        {"weight_initializer": {"type": "Normal", "std": "1e-3"}},  # what YAML 1.1 makes of 1e-3
        {"weight_initializer": {"type": "XavierNormal", "fan_in": None, "fan_out": 3}},
        {"keep": "1e-1"}, {"scale": "1e-1"}, {"head_lr": {"scale": "2e0"}},
        {"distill": 0.1}, {"distill": "1e-1"}, {"distill": {"weight": "1e-1"}},
    ],
)  # fmt: skip
def test_right_blocks(block):
    assert parsed(block)
    assert accepted(block)


@pytest.mark.parametrize(
    ("key", "block"),
    [
        *((key, block) for key in ("freeze_out", "lwf") for block in (None, True, False, {})),
        ("freeze_out", {"t_0": 0}), ("freeze_out", {"t_0": "5e-1"}), ("freeze_out", {"t_0": 0.3}),
        ("freeze_out", {"layers": "all", "lr": "follow", "how_scale": "cubic", "scale_lr": True}),
        ("freeze_out", {"layers": ["backbone.*"]}),
        ("lwf", {"weight": "1e-1", "temperature": "2e0"}), ("lwf", {"weight": 0, "num_classes": 3}),
        ("lwf", {"teacher": "old.pdparams", "num_classes": None, "kinds": {"head.*": "none"}}),
        ("lwf", {"warm_up": 5}), ("lwf", {"warm_up": "2 epochs"}),
    ],
)  # fmt: skip
def test_right_blocks_of_the_other_methods(key, block):
    assert parsed(block, key)
    assert accepted(block, key)


@pytest.mark.parametrize(
    ("key", "block"),
    [
        *((key, block) for key in ("freeze_out", "lwf") for block in (5, [], "auto", {"x": 1})),
        *(("freeze_out", {"t_0": value}) for value in (True, None, -0.1, 1.5, "half")),
        *(("freeze_out", {"layers": value}) for value in (None, [], [1], [""], "outputs")),
        *(("freeze_out", {key: 1}) for key in ("how_scale", "scale_lr", "lr")),
        *(("lwf", {"weight": value}) for value in (True, None, -1, "half")),
        *(("lwf", {"temperature": value}) for value in (True, 0, -1, "warm")),
        *(("lwf", {"num_classes": value}) for value in (True, 0, "3", 2.5)),
        *(("lwf", {"warm_up": value}) for value in (True, -1, None, "2", "0 epochs")),
        *(("lwf", {"kinds": value}) for value in (None, [], {"head": "tanh"}, {"": "none"})),
        ("lwf", {"teacher": ""}), ("lwf", {"teacher": 3}),
    ],
)  # fmt: skip
def test_wrong_blocks_of_the_other_methods(key, block):
    assert not parsed(block, key)
    assert not accepted(block, key)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializers_by_name_alone_and_as_mappings(name):
    for key, known in (("weight_", INITIALIZERS), ("bias_", BIAS_INITIALIZERS)):
        for value in (name, {"type": name}):
            block = {f"{key}initializer": value}
            assert accepted(block) == parsed(block) == (name in known)


@pytest.mark.parametrize(
    "block",
    [
        5, [], "auto",
        {"max_re_nun": 2}, {"Layers": "auto"},
        {"layers": "atuo"}, {"layers": []}, {"layers": [1]}, {"layers": [""]}, {"layers": None},
        {"re_init_epoch": 0}, {"re_init_iter": -5}, {"re_init_iter": "5"}, {"re_init_iter": True},
        {"re_init_iter": 2.5}, {"re_init_epoch": 2, "re_init_iter": 2},
        {"max_re_num": 0}, {"max_re_num": 1001}, {"max_re_num": "3"},
        {"keep_last": -1}, {"seed": -1}, {"seed": None},
        {"head_lr": "cylic"}, {"head_lr": False}, {"optimizer_state": "drop"},
        {"optimizer_state": None},
        {"weight_initializer": "XavierNromal"}, {"weight_initializer": 3},
        {"weight_initializer": {"std": 1}}, {"weight_initializer": {"type": "os.system"}},
        {"weight_initializer": {"type": "Normal", "sdt": 1}},
        {"weight_initializer": {"type": "Normal", "std": -1}},
        {"weight_initializer": {"type": "Normal", "std": "wide"}},
        {"weight_initializer": {"type": "Normal", "std": None}},
        {"weight_initializer": {"type": "KaimingNormal", "nonlinearity": "gelu"}},
        {"weight_initializer": {"type": "VarianceScaling", "mode": "fan"}},
        {"bias_initializer": "XavierNormal"}, {"bias_initializer": "original"},
        {"bias_initializer": {"type": "Orthogonal"}},
        {"keep": True}, {"keep": 2}, {"scale": True}, {"scale": 0}, {"scale": "wide"},
        {"head_lr": {"scale": True}}, {"head_lr": {"scale": 0}},
        {"distill": -1}, {"distill": "half"}, {"distill": {"weight": True}},
        {"distill": {"temperature": 0}}, {"distill": {"temperature": True}},
    ],
)  # fmt: skip
def test_wrong_blocks(block):
    assert not parsed(block)
    assert not accepted(block)


numbers = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-9, 9)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False).map(str)
    | st.sampled_from(["1e-3", " 2 ", "+.5", "5.", "1_0", "1E5"])
)


@st.composite
def mappings(draw):
    """An initializer with some of its arguments, most of them numbers."""
    name = draw(st.sampled_from(list(INITIALIZERS)))
    arguments = [a for a in INITIALIZERS[name].model_fields if a != "type"]
    given = draw(st.lists(st.sampled_from(arguments), unique=True))
    return {"type": name, **{argument: draw(numbers | st.none()) for argument in given}}


whole = st.none() | st.integers(0, 30)
initializers = st.none() | st.sampled_from([*INITIALIZERS, "original"]) | mappings()
likely = st.fixed_dictionaries(
    {},
    optional={
        "layers": st.sampled_from(["auto", "head"]) | st.lists(st.text(max_size=5), max_size=3),
        "re_init_epoch": whole,
        "re_init_iter": whole,
        "max_re_num": st.integers(1, 1000),
        "keep_last": whole,
        "weight_initializer": initializers,
        "bias_initializer": initializers,
        "head_lr": st.sampled_from([None, "none", "cyclic"]),
        "optimizer_state": st.sampled_from(["reset", "keep"]),
        "keep": numbers,
        "scale": numbers,
        "distill": numbers | st.fixed_dictionaries({}, optional={"weight": numbers}),
        "seed": st.integers(0, 10**20),
    },
)


@BLOCKS
@given(blocks | values)
def test_what_the_parser_accepts_the_schema_accepts(block):
    if is_json(block) and parsed(block):
        assert accepted(block)


@settings(
    max_examples=EXAMPLES // 2,
    deadline=2000,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
@given(likely)
def test_blocks_that_are_nearly_right(block):
    if parsed(block):
        assert accepted(block)


@settings(
    max_examples=EXAMPLES // 4,
    deadline=2000,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
@pytest.mark.parametrize("key", ["freeze_out", "lwf"])
@given(st.data())
def test_blocks_of_the_other_methods(key, data):
    words = ["all", "own", "follow", "cubic", "2 epochs"]
    value = numbers | st.sampled_from(words) | st.just({"head": "none"}) | values
    block = data.draw(st.dictionaries(st.sampled_from(list(MODELS[key].model_fields)), value))
    if is_json(block) and parsed(block, key):
        assert accepted(block, key)
