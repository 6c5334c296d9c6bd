"""What is reachable from a model's code is given back, whatever holds it."""

import argparse
import collections
import itertools
import types

import pytest

from rifle_ext.runtime.keeping import Kept

NAMESPACE = types.SimpleNamespace(calls=0)
OPTIONS = argparse.Namespace(seen=0)
USERS = collections.UserList([1])
SEEN = []
ADD = SEEN.append
CYCLE = itertools.cycle("abc")
NUMBERED = enumerate([1, 2, 3])
CHAIN = itertools.chain([1], [2, 3])


def count():
    NAMESPACE.calls += 1


def option():
    OPTIONS.seen += 1


def users():
    USERS.append(2)


def bound():
    ADD(1)


@pytest.mark.parametrize(
    ("function", "state"),
    [
        (count, lambda: NAMESPACE.calls),
        (option, lambda: OPTIONS.seen),
        (users, lambda: list(USERS)),
        (bound, lambda: list(SEEN)),
    ],
)
def test_holders_of_pythons_own(function, state):
    before = state()
    kept = Kept([function])
    function()
    assert state() != before
    kept.restore()
    assert state() == before


def cycle():
    return next(CYCLE)


def numbered():
    return next(NUMBERED)


def chain():
    return next(CHAIN)


@pytest.mark.parametrize("function", [cycle, numbered, chain])
def test_iterators_that_draw_from_others(function):
    kept = Kept([function])
    first = function()
    function()
    kept.restore()
    assert function() == first
