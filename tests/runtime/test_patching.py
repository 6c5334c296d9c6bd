"""Standing one function in for another, and giving it back."""

import sys
import types

import pytest

from rifle_ext.runtime.patching import rebound, replaced


def original():
    return "original"


def stand_in():
    return "stand-in"


@pytest.fixture
def other_module(monkeypatch):
    """A module that imported the function by name."""
    module = types.ModuleType("other_module_of_test")
    module.copied = original
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_every_copy_is_replaced_and_given_back_again_and_again(other_module):
    here = sys.modules[__name__]
    for _ in range(2):
        with rebound({original: stand_in}):
            assert other_module.copied() == here.original() == "stand-in"
        assert other_module.copied() == here.original() == "original"
        assert here.stand_in() == "stand-in"  # under its own name it is left alone


def test_what_is_replaced_is_given_back_after_an_exception(other_module):
    with pytest.raises(ZeroDivisionError), rebound({original: stand_in}):
        raise ZeroDivisionError
    assert other_module.copied() == "original"
    with pytest.raises(ZeroDivisionError), replaced(other_module, copied=stand_in):
        raise ZeroDivisionError
    assert other_module.copied() == "original"
