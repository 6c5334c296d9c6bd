"""The transfer benchmark, small enough for tests."""

from dataclasses import replace

from benchmarks.transfer import data, settings
from benchmarks.transfer.places import MODELS


def made_small(monkeypatch):
    """Data sets and trainings of seconds."""
    monkeypatch.setattr(data, "SOURCE", 16)
    monkeypatch.setattr(data, "VAL", 4)
    monkeypatch.setattr(data, "SEEDS", 2)
    for name, model in MODELS.items():
        monkeypatch.setitem(MODELS, name, replace(model, steps=12))
    monkeypatch.setattr(settings, "SOURCE_STEPS", {"pp_liteseg": 5})
