"""What is inferred: numbers of classes from shapes, kinds from sizes; and what a block allows."""

import pytest

from rifle_ext.distillation.answers import Answer, Sizes, kind_of
from rifle_ext.errors import RifleError
from rifle_ext.heads.classes import depending, number_in
from rifle_ext.methods.lwf.block import parse_block
from rifle_ext.methods.lwf.kinds import overridden

SHAPES = {"a.weight": (9, 4, 1, 1), "b.weight": (8, 3), "b.bias": (3,), "c": (7,)}
MORE = {**SHAPES, "a.weight": (12, 4, 1, 1), "b.weight": (8, 4), "b.bias": (4,)}
"""Of three classes and four: three anchors in `a`."""


def test_which_tensors_depend_on_the_number_of_classes():
    assert depending(SHAPES, MORE) == ["a.weight", "b.weight", "b.bias"]


def test_the_number_is_read_from_shapes():
    file = {"a.weight": (30, 4, 1, 1), "b.weight": (8, 10), "b.bias": (10,), "other": (5,)}
    assert number_in(file, SHAPES, MORE, 3) == 10
    assert number_in({**SHAPES}, SHAPES, MORE, 3) == 3


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"c": (7,)}, "it holds no head"),
        ({"a.weight": (10, 4, 1, 1)}, r"a.weight has the shape \[10, 4, 1, 1\], which is that of"),
        ({"a.weight": (9, 5, 1, 1)}, "for no number of classes"),
        ({"a.weight": (9, 4, 1, 1), "b.bias": (5,)}, "a.weight is of 3, b.bias is of 5"),
    ],
)
def test_files_that_tell_no_number(file, said):
    with pytest.raises(RifleError, match=said):
        number_in(file, SHAPES, MORE, 3)


@pytest.mark.parametrize(
    ("channels", "other", "exclusive", "bins", "kind"),
    [
        ((21, 21), (6, 6), True, None, ("softmax", 21)),
        ((80, 80), (5, 5), False, None, ("sigmoid", 1)),
        ((81, 80), (6, 5), False, None, ("softmax", 81)),  # a class for nothing
        ((4 * 81, 80), (4 * 6, 5), False, None, ("softmax", 81)),  # of four anchors
        ((3 * 85, 80), (3 * 10, 5), False, None, ("distance", 1)),  # boxes among them
        ((68, 80), (68, 5), False, 17, ("distribution", 17)),
        ((68, 80), (68, 5), False, None, ("distance", 1)),
        ((4, 80), (4, 5), False, 17, ("distance", 1)),
    ],
)
def test_kinds_follow_from_sizes(channels, other, exclusive, bins, kind):
    sizes = Sizes.of(*channels, *other)
    assert kind_of(sizes, exclusive, bins) == kind


def test_a_block_names_other_kinds():
    answers = [
        Answer("head.cls", 0, True, "sigmoid", 1, 1),
        Answer("head.reg", 0, False, "distribution", 8, 1),
    ]
    found = overridden(answers, {"head.*": "none", "head.cls": "softmax"}, [5, 32])
    assert [(a.kind, a.group) for a in found] == [("softmax", 5), ("none", 1)]
    with pytest.raises(RifleError, match='"head.cla" is no output layer .* did you mean head.cls'):
        overridden(answers, {"head.cla": "none"}, [5, 32])
    with pytest.raises(RifleError, match="the layer has 5 channels"):
        overridden(answers, {"head.cls": "distribution"}, [5, 32])


def test_the_defaults_are_the_papers():
    block = parse_block(None)
    assert (block.weight, block.temperature, block.warm_up_steps(10)) == (1.0, 2.0, 0)
    assert parse_block({"warm_up": "2 epochs"}).warm_up_steps(10) == 20
    assert parse_block(False) is None


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"weight": -1}, "lwf.weight = -1: allowed is a number, 0 or more"),
        ({"temperature": 0}, "lwf.temperature = 0: allowed is a number above 0"),
        (
            {"warm_up": "2 weeks"},
            'lwf.warm_up = "2 weeks": allowed is a whole number of',
        ),
        ({"warm_up": -2}, "lwf.warm_up = -2: allowed is a whole number of iterations"),
        ({"kinds": {"a": "soft"}}, "lwf.kinds = .* allowed is a mapping of names"),
        ({"num_classes": 0}, "lwf.num_classes = 0: allowed is a whole number, 1 or more"),
        ({"techer": "x"}, "lwf.techer = .*no such key.*teacher"),
    ],
)
def test_a_wrong_block_is_one_message(block, said):
    with pytest.raises(RifleError, match=said):
        parse_block(block, "config.yml")
