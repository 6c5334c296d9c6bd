"""The distances between answers, by hand."""

import numpy as np
import paddle
import pytest

from rifle_ext.distillation import distances
from rifle_ext.distillation.answers import Answer
from rifle_ext.distillation.loss import distillation

RNG = np.random.default_rng(0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def tensors(*arrays):
    return [paddle.to_tensor(np.asarray(array, "float32")) for array in arrays]


def test_softmax_is_the_papers_equations_2_and_3():
    """Probabilities raised to 1/T and normalized, then cross-entropy; no factor of T squared."""
    today, teacher = RNG.normal(0, 2, (2, 3, 4)), RNG.normal(0, 2, (2, 3, 4))
    raised = [softmax(x) ** (1 / 2) for x in (today, teacher)]
    ours, theirs = (r / r.sum(-1, keepdims=True) for r in raised)
    counts = np.array([[1, 0, 1], [1, 1, 0]])
    wanted = (-(theirs * np.log(ours)).sum(-1) * counts).sum()
    total, places = distances.softmax(*tensors(today, teacher, counts), 4, 2.0)
    assert float(total) == pytest.approx(wanted, rel=1e-5)
    assert float(places) == 4


def test_softmax_of_several_anchors():
    today, teacher = RNG.normal(0, 2, (1, 2, 6)), RNG.normal(0, 2, (1, 2, 6))
    wanted = 0
    for place in range(2):
        for anchor in (slice(0, 3), slice(3, 6)):
            ours, theirs = (softmax(x[0, place, anchor] / 2) for x in (today, teacher))
            wanted -= (theirs * np.log(ours)).sum()
    total, _ = distances.softmax(*tensors(today, teacher, np.ones((1, 2))), 3, 2.0)
    assert float(total) == pytest.approx(wanted, rel=1e-5)


def test_sigmoid():
    today, teacher = RNG.normal(0, 2, (1, 5, 3)), RNG.normal(0, 2, (1, 5, 3))
    ours, theirs = sigmoid(today / 4), sigmoid(teacher / 4)
    each = -(theirs * np.log(ours) + (1 - theirs) * np.log(1 - ours)).sum(-1)
    total, places = distances.sigmoid(*tensors(today, teacher, np.ones((1, 5))), 1, 4.0)
    assert float(total) == pytest.approx(each.sum(), rel=1e-5) and float(places) == 5


def test_distribution_is_the_mean_over_the_sides():
    today, teacher = RNG.normal(0, 2, (1, 1, 12)), RNG.normal(0, 2, (1, 1, 12))
    sides = [slice(i, i + 3) for i in range(0, 12, 3)]
    each = [
        -(softmax(teacher[0, 0, s] / 2) * np.log(softmax(today[0, 0, s] / 2))).sum() for s in sides
    ]
    total, _ = distances.distribution(*tensors(today, teacher, np.ones((1, 1))), 3, 2.0)
    assert float(total) == pytest.approx(np.mean(each), rel=1e-5)


def test_distance():
    today, teacher = RNG.normal(0, 2, (1, 2, 3)), RNG.normal(0, 2, (1, 2, 3))
    counts = np.array([[0, 1]])
    total, places = distances.distance(*tensors(today, teacher, counts), 1, 9.0)
    assert float(total) == pytest.approx(((today - teacher)[0, 1] ** 2).mean(), rel=1e-5)
    assert float(places) == 1


def test_sure_is_above_the_mean_by_two_standard_deviations():
    logits = np.full((1, 50, 2), -4.0)
    logits[0, 7, 1] = 3.0
    (teacher,) = tensors(logits)
    logits[0, 7, 1] = -4.0
    levels = [distances.sureness(t, "sigmoid", 1) for t in (teacher, *tensors(logits))]
    sure, other = (found.numpy()[0] for found in distances.where_sure(levels))
    assert list(np.flatnonzero(sure)) == [7] and not other.any()
    # The last class of a softmax is none.
    logits[0, 7, 1] = 3.0
    (teacher,) = tensors(np.concatenate([logits, np.zeros((1, 50, 1))], -1))
    shares = distances.sureness(teacher, "softmax", 3).numpy()[0]
    assert shares[7] == pytest.approx(softmax(np.array([-4.0, 3.0, 0.0]))[1], rel=1e-5)
    assert not distances.where_sure([paddle.ones([1, 9])])[0].any()


def test_the_places_of_a_convolution():
    made = RNG.normal(0, 1, (2, 3, 4, 5)).astype("float32")
    places = distances.as_places(paddle.to_tensor(made), 1).numpy()
    assert np.array_equal(places[1, 7], made[1, :, 1, 2])


def test_ignored_pixels_do_not_count():
    """Of an answer at half the labels' size a place counts as the pixel nearest to it."""
    answer = Answer("head", 0, True, "softmax", 3, 1)
    today, teacher = RNG.normal(0, 2, (1, 3, 2, 2)), RNG.normal(0, 2, (1, 3, 2, 2))
    ignored = np.zeros((1, 4, 4), bool)
    ignored[0, :2, :2] = True
    ours, theirs = (softmax(np.moveaxis(x, 1, -1) / 2) for x in (today, teacher))
    each = -(theirs * np.log(ours)).sum(-1)[0]
    wanted = (each.sum() - each[0, 0]) / 3
    found = distillation([answer], tensors(today), tensors(teacher), 2.0, paddle.to_tensor(ignored))
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    none = paddle.ones([1, 4, 4], "bool")
    assert float(distillation([answer], tensors(today), tensors(teacher), 2.0, none)) == 0


def test_kinds_are_means_over_all_levels_and_added_up():
    levels = [RNG.normal(-3, 2, (1, 2, side, side)) for side in (8, 4)]
    for level, number in zip(levels, (3, 2)):
        level[:, 1, number, number] = 9.0  # of the one class, at one place of each
    boxes = [RNG.normal(0, 1, (1, 4, side, side)) for side in (8, 4)]
    teacher = tensors(levels[0], boxes[0], levels[1], boxes[1])
    today = [t + 0.5 for t in teacher]
    answers = [
        Answer("cls", 0, True, "sigmoid", 1, 1, sure_by=0),
        Answer("reg", 0, False, "distance", 1, 1, sure_by=0),
        Answer("cls", 1, True, "sigmoid", 1, 1, sure_by=2),
        Answer("reg", 1, False, "distance", 1, 1, sure_by=2),
    ]
    flat = np.concatenate([np.moveaxis(level[0], 0, -1).reshape(-1, 2) for level in levels])
    best = flat.max(-1)
    sure = best > best.mean() + 2 * best.std()
    ours, theirs = sigmoid((flat + 0.5) / 2), sigmoid(flat / 2)
    each = -(theirs * np.log(ours) + (1 - theirs) * np.log(1 - ours)).sum(-1)
    total, count = (each * sure).sum(), sure.sum()
    assert count > 0
    found = distillation(answers, today, teacher, 2.0)
    assert float(found) == pytest.approx(total / count + 0.25, rel=1e-4)
