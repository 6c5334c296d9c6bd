"""The `freeze_out:` block: what it takes, and one message for what it does not."""

import pytest

from rifle_ext.errors import RifleError
from rifle_ext.methods.freeze_out import hooks
from rifle_ext.methods.freeze_out.block import parse_block


@pytest.mark.parametrize("block", [None, True, {}])
def test_nothing_means_all_defaults(block):
    (hook,) = hooks(block, "my.yml")
    assert hook.block == parse_block({})


def test_false_switches_it_off():
    assert hooks(False, "my.yml") == []


@pytest.mark.parametrize("t_0", [0, 1, 0.0, 0.3, 1.0, "0.5", "1e-5"])
def test_t_0_is_a_fraction(t_0):
    assert parse_block({"t_0": t_0}).t_0 == float(t_0)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (5, "freeze_out: 5 is not a block of keys"),
        ({"t0": 0.5}, "freeze_out.t0 = 0.5: no such key; did you mean t_0? (keys: t_0, how_scale"),
        ({"t_0": 1.5}, "freeze_out.t_0 = 1.5: allowed is a number from 0 to 1, a fraction of the"),
        ({"t_0": -0.1}, "freeze_out.t_0 = -0.1: allowed is a number from 0 to 1"),
        ({"t_0": "half"}, 'freeze_out.t_0 = "half": allowed is a number from 0 to 1'),
        ({"t_0": True}, "freeze_out.t_0 = true: allowed is a number from 0 to 1"),
        ({"t_0": float("nan")}, "freeze_out.t_0 = NaN: allowed is a number from 0 to 1"),
        ({"t_0": None}, "freeze_out.t_0 = null: allowed is a number from 0 to 1"),
        ({"how_scale": "cubicc"}, "allowed is linear, squared or cubic; did you mean cubic?"),
        ({"scale_lr": "yes"}, 'freeze_out.scale_lr = "yes": allowed is true or false'),
        ({"scale_lr": 1}, "freeze_out.scale_lr = 1: allowed is true or false"),
        ({"layers": "atuo"}, 'freeze_out.layers = "atuo": allowed is auto, all, or a list of'),
        ({"layers": "backbone.*"}, 'names or globs; write it as a list: ["backbone.*"]'),
        ({"layers": []}, "freeze_out.layers = []: allowed is auto, all, or a list"),
        ({"layers": [1]}, "freeze_out.layers = [1]: allowed is auto, all, or a list"),
        ({"lr": "won"}, 'freeze_out.lr = "won": allowed is own or follow; did you mean own?'),
        ({"lr": 0.1}, "freeze_out.lr = 0.1: allowed is own or follow"),
    ],
)
def test_a_wrong_block_is_one_message_with_key_value_and_what_is_allowed(block, said):
    with pytest.raises(RifleError) as caught:
        hooks(block, "my.yml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("my.yml: ")


def test_every_wrong_key_is_named_at_once():
    with pytest.raises(RifleError) as caught:
        hooks({"t_0": 2, "lr": "x", "colour": 1}, "my.yml")
    lines = str(caught.value).splitlines()
    named = [line.split(" = ")[0].strip() for line in lines[1:]]
    assert named == ["freeze_out.t_0", "freeze_out.lr", "freeze_out.colour"]
