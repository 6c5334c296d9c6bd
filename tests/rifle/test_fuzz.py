"""A thousand made-up blocks: each is valid, or gives one message that names its wrong keys."""

import copy
import json
import math
import re

import yaml
from blocks import BLOCKS, EXAMPLES, KEYS, blocks, initializers, values
from hypothesis import given, settings
from hypothesis import strategies as st

from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import RifleConfig, parse_block
from rifle_ext.methods.rifle.schedule import MOST, make_schedule


def parsed(block):
    """The parsed block, or the lines of what is said of it."""
    try:
        return parse_block(copy.deepcopy(block), "my.yml")
    except RifleError as error:
        return str(error).splitlines()


@BLOCKS
@given(blocks)
def test_a_block_is_valid_or_gives_one_message_that_names_its_keys(block):
    result = parsed(block)
    if isinstance(result, RifleConfig):
        assert set(map(str, block)) <= set(KEYS)
        return
    assert result[0].startswith("my.yml: ")
    known = {f"  rifle.{shown(key)} = " for key in block} | {"  rifle: "}
    assert result[1:]
    for line in result[1:]:
        line = re.sub(r"^  rifle\.(head_lr|distill)\..*? = ", r"  rifle.\1 = ", line)
        assert any(line.startswith(name) for name in known), line
    for key in map(str, block):
        if key not in KEYS:
            assert any(line.startswith(f"  rifle.{shown(key)} = ") for line in result[1:]), key


def shown(key):
    return str(key) if str(key).isprintable() else json.dumps(str(key))


@BLOCKS
@given(values)
def test_whatever_stands_under_the_key(value):
    result = parsed(value)
    if result is None:
        assert value is False
    elif not isinstance(result, RifleConfig):
        assert result[0].startswith("my.yml: ")


@BLOCKS
@given(blocks, st.integers(1, 5000), st.integers(1, 500))
def test_every_valid_block_has_a_schedule(block, total, per_epoch):
    result = parsed(block)
    if not isinstance(result, RifleConfig):
        return
    plan = make_schedule(result, total, per_epoch)
    done = [reset.step for reset in plan.resets]
    assert len(done) <= (result.max_re_num or MOST)
    assert done == sorted(set(done))
    assert all(0 < step < total for step in done)
    if result.keep_last is not None:
        unit = per_epoch if result.re_init_epoch else 1
        assert all(total - step >= result.keep_last * unit for step in done)


@settings(max_examples=EXAMPLES // 4, deadline=2000, database=None)
@given(blocks)
def test_a_valid_block_means_the_same_after_a_round_trip_through_yaml(block):
    result = parsed(block)
    if isinstance(result, RifleConfig):
        again = yaml.safe_load(yaml.safe_dump(result.model_dump()))
        assert parse_block(again) == result


@settings(max_examples=EXAMPLES // 4, deadline=2000, database=None)
@given(initializers)
def test_initializers_come_from_the_list_alone_and_build(described):
    for key in ("weight_initializer", "bias_initializer"):
        result = parsed({key: described})
        if isinstance(result, RifleConfig):
            built = getattr(result.initializers(), key.split("_")[0])
            kind = {"LSUV": "Orthogonal"}.get(described["type"], described["type"])
            assert type(built).__name__.startswith(kind)
            assert all(math.isfinite(v) for v in described.values() if isinstance(v, float))
