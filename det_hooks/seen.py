"""What was seen of PaddleDetection's configs in this process: where they stand, how they were."""

from __future__ import annotations

from typing import Any


class _Seen:
    source = "config"
    with_block = False
    before_slim: Any = None


def source() -> str:
    """Path of the config file that was read last, bases apart; rather of one that has a block."""
    return _Seen.source


def source_has_block() -> bool:
    """Whether that one has a block."""
    return _Seen.with_block


def note_source(path: str, with_block: bool) -> None:
    """A config file was read; its bases were before it."""
    _Seen.source, _Seen.with_block = path, with_block


def note_before_slim(snapshot: Any) -> None:
    """A `Snapshot` of the config before `build_slim_model` writes into it; None without a block."""
    _Seen.before_slim = snapshot


def note_before_model(trainer: Any, snapshot: Any) -> None:
    """A `Snapshot` of the config before a trainer builds its model."""
    trainer._rifle_ext_config = snapshot


def config_before(trainer: Any) -> Any:
    """A `Snapshot` of the config as it was before the trainer's model was built."""
    if "model" in trainer.cfg:
        return _Seen.before_slim
    return getattr(trainer, "_rifle_ext_config", None)
