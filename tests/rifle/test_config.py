"""The block: what is valid, and what is said of what is not."""

import pytest

from rifle_ext.errors import RifleError
from rifle_ext.methods.rifle.block import RifleConfig, parse_block

DEFAULTS = RifleConfig()


@pytest.mark.parametrize("block", [None, True, {}])
def test_short_forms_mean_all_defaults(block):
    assert parse_block(block) == DEFAULTS


def test_false_means_no_rifle():
    assert parse_block(False) is None


def test_defaults_are_those_of_the_design():
    assert DEFAULTS.model_dump() == {
        "layers": "auto",
        "loaded": None,
        "re_init_epoch": None,
        "re_init_iter": None,
        "max_re_num": None,
        "keep_last": None,
        "weight_initializer": None,
        "bias_initializer": None,
        "scale": "auto",
        "head_lr": {"cycle": "none", "scale": "auto", "iterations": "auto"},
        "warm_up": 0,
        "ramp": 0,
        "keep": 0.0,
        "distill": {"weight": 0.0, "temperature": 2.0, "iterations": "auto"},
        "optimizer_state": "reset",
        "seed": 0,
        "track": None,
    }


def test_an_empty_head_lr_is_its_default():
    assert parse_block({"head_lr": None}) == DEFAULTS


def test_a_full_block():
    block = parse_block(
        {
            "layers": ["head.*", "aux"],
            "re_init_iter": 100,
            "max_re_num": 2,
            "keep_last": 0,
            "weight_initializer": {"type": "Normal", "std": 0.01},
            "head_lr": "cyclic",
            "optimizer_state": "keep",
            "seed": 3,
        }
    )
    assert block.layers == ["head.*", "aux"]
    assert block.weight_initializer.std == 0.01


def test_an_initializer_by_name_alone_is_the_one_with_its_defaults():
    assert parse_block({"weight_initializer": "XavierNormal"}) == parse_block(
        {"weight_initializer": {"type": "XavierNormal"}}
    )


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (5, "rifle: 5 is not a block of keys"),
        ([], "rifle: [] is not a block of keys"),
        ({"max_re_nun": 2}, "rifle.max_re_nun = 2: no such key; did you mean max_re_num?"),
        ({"Layers": "auto"}, 'rifle.Layers = "auto": no such key; did you mean layers?'),
        ({5: 1}, "rifle.5 = 1: no such key (keys: layers, "),
        ({"layers": "atuo"}, 'rifle.layers = "atuo": allowed is auto, outputs, head, or a list'),
        ({"layers": "atuo"}, "did you mean auto?"),
        ({"layers": "head.*"}, 'or globs; write it as a list: ["head.*"]'),
        ({"layers": "cls_head"}, 'or globs; write it as a list: ["cls_head"]'),
        ({"layers": "neck"}, 'or globs; write it as a list: ["neck"]'),
        ({"layers": []}, "rifle.layers = []: allowed is"),
        ({"layers": [1]}, "rifle.layers = [1]: allowed is"),
        ({"layers": [""]}, 'rifle.layers = [""]: allowed is'),
        ({"re_init_epoch": 0}, "rifle.re_init_epoch = 0: allowed is a whole number of epochs"),
        ({"re_init_iter": -5}, "rifle.re_init_iter = -5: allowed is a whole number of iterations"),
        ({"re_init_iter": "5"}, 'rifle.re_init_iter = "5": allowed is'),
        ({"re_init_iter": True}, "rifle.re_init_iter = true: allowed is"),
        ({"re_init_iter": 2.0}, "rifle.re_init_iter = 2.0: allowed is"),
        ({"max_re_num": 0}, "rifle.max_re_num = 0: allowed is a whole number, 1 to 1000"),
        ({"max_re_num": 10**9}, "rifle.max_re_num = 1000000000: allowed is"),
        ({"keep_last": -1}, "rifle.keep_last = -1: allowed is a whole number, 0 or more"),
        ({"seed": -1}, "rifle.seed = -1: allowed is"),
        ({"head_lr": "cylic"}, "allowed is none, cyclic, auto, or a mapping of cycle, scale and "),
        ({"head_lr": "cylic"}, 'rifle.head_lr = "cylic": allowed is'),
        ({"head_lr": "cylic"}, "; did you mean cyclic?"),
        ({"head_lr": "cosine"}, "; did you mean cyclic?"),
        ({"head_lr": {"scael": 2}}, "rifle.head_lr.scael = 2: no such key; did you mean scale?"),
        ({"head_lr": {"scale": 0}}, "rifle.head_lr.scale = 0: allowed is auto or a number above"),
        ({"head_lr": {"iterations": 1.5}}, "rifle.head_lr.iterations = 1.5: allowed is auto or a"),
        ({"head_lr": {"cycle": "cos"}}, 'rifle.head_lr.cycle = "cos": allowed is none or cosine'),
        ({"head_lr": {5: 1}}, "rifle.head_lr.5 = 1: no such key (keys: cycle, scale, iterations)"),
        ({"scale": -1}, "rifle.scale = -1: allowed is auto or a number above 0"),
        (
            {"scale": "atuo"},
            'rifle.scale = "atuo": allowed is auto or a number above 0 (1e-30 to 1e30); did',
        ),
        ({"scale": 1, "weight_initializer": "Normal"}, "give it or weight_initializer, not both"),
        ({"loaded": "kepe"}, "allowed is keep, restore, redraw or nothing; did you mean keep?"),
        ({"warm_up": -1}, "rifle.warm_up = -1: allowed is a whole number of iterations, 0 or more"),
        ({"ramp": 0.5}, "rifle.ramp = 0.5: allowed is a whole number of iterations, 0 or more"),
        ({"optimizer_state": "drop"}, 'rifle.optimizer_state = "drop": allowed is reset or keep'),
        (
            {"re_init_epoch": 2, "re_init_iter": 2},
            "rifle: give re_init_epoch or re_init_iter, not both",
        ),
        (
            {"weight_initializer": "XavierNromal"},
            "no such initializer; did you mean XavierNormal? (allowed: null, original, or one of",
        ),
        ({"weight_initializer": "os.system"}, 'rifle.weight_initializer = "os.system": no such'),
        ({"weight_initializer": {"std": 1}}, "`type` is missing: name the initializer, as in"),
        (
            {"weight_initializer": {"type": "Uniform", "low": 2}},
            "Uniform: low must not be above high",
        ),
        ({"weight_initializer": 3}, "rifle.weight_initializer = 3: no such initializer"),
        (
            {"weight_initializer": {"type": "Normal", "sdt": 1}},
            "Normal has no argument sdt; did you mean std? (it has mean, std)",
        ),
        (
            {"weight_initializer": {"type": "Normal", "std": -1}},
            "std: Input should be greater than 0",
        ),
        (
            {"weight_initializer": {"type": "Normal", "std": True}},
            '{"type": "Normal", "std": true}: std: true and false are no numbers',
        ),
        ({"weight_initializer": {"type": "XavierNormal", "fan_in": True}}, ": fan_in: true and"),
        ({"bias_initializer": {"type": "Constant", "value": False}}, ": value: true and false"),
        (
            {"bias_initializer": "XavierNormal"},
            "(allowed: null, or one of Constant, Normal, TruncatedNormal, Uniform, alone or as",
        ),
        ({"bias_initializer": "original"}, 'rifle.bias_initializer = "original": no such'),
        (
            {"weight_initializer": {"type": "VarianceScaling", "mode": "fan"}},
            "mode: Input should be 'fan_in', 'fan_out' or 'fan_avg'",
        ),
        (
            {"weight_initializer": {"type": "Normal", "std": float("inf")}},
            "std: Input should be a finite number",
        ),
        (
            {"weight_initializer": {"type": "Normal", "std": 1e39}},
            '{"type": "Normal", "std": 1e+39}: std: allowed is 1e+30 or less',
        ),
        (
            {"bias_initializer": {"type": "Constant", "value": "-1e39"}},
            "value: allowed is -1e+30 or more",
        ),
        (
            {"weight_initializer": {"type": "LSUV", "variance": 1e39}},
            "variance: allowed is 1e+30 or less",
        ),
        ({"scale": 1e300}, "rifle.scale = 1e+300: allowed is auto or a number above 0 (1e-30 to"),
        ({"head_lr": {"scale": 1e39}}, "rifle.head_lr.scale = 1e+39: allowed is auto or a number"),
        ({"distill": 1e39}, "rifle.distill = 1e+39: allowed is true, false, a number"),
        ({"distill": {"weight": 1e39}}, "weight = 1e+39: allowed is a number, 0 or more (at most"),
        ({"distill": {"temperature": 1e-39}}, "allowed is a number above 0 (1e-30 to 1e30)"),
    ],
)
def test_a_wrong_block_is_one_message_with_key_value_and_what_is_allowed(block, said):
    with pytest.raises(RifleError) as caught:
        parse_block(block, "my.yml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("my.yml: ")


def test_every_wrong_key_is_named_at_once():
    with pytest.raises(RifleError) as caught:
        parse_block({"seed": "x", "max_re_num": 0, "colour": 1}, "my.yml")
    lines = str(caught.value).splitlines()
    assert [line.split(" = ")[0].strip() for line in lines[1:]] == [
        "rifle.seed",
        "rifle.max_re_num",
        "rifle.colour",
    ]
