"""Which configs of a checkout of PaddleSeg or PaddleDetection describe a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Set

import yaml

NEEDED = {
    "seg": {"model", "train_dataset", "optimizer", "iters"},
    "det": {"architecture", "TrainDataset", "TrainReader", "OptimizerBuilder", "epoch"},
}
"""Top-level keys, those of base configs included, that a training needs."""

_BASES = {"seg": "_base_", "det": "_BASE_"}


class _AnyTag(yaml.SafeLoader):
    """Reads PaddleDetection's tags for objects as plain values."""


_AnyTag.add_multi_constructor("!", lambda loader, suffix, node: {"name": suffix})


def trainable(toolkit: str, checkout: Path) -> List[str]:
    """Paths of the configs, relative to the checkout.

    Parameters
    ----------
    toolkit
        'seg' or 'det'.
    checkout
        Root of a checkout of the toolkit.
    """
    paths = sorted((checkout / "configs").rglob("*.yml"))
    keys = {path: _keys(toolkit, path) for path in paths if "_base_" not in path.parts}
    # A config with `slim` is added to another one (`--slim_config`).
    chosen = [path for path in keys if NEEDED[toolkit] <= keys[path] and "slim" not in keys[path]]
    return [str(path.relative_to(checkout)) for path in chosen]


def _keys(toolkit: str, path: Path) -> Set[str]:
    content = _read(path)
    keys = set(content)
    for base in _bases(content.get(_BASES[toolkit])):
        keys |= _keys(toolkit, (path.parent / base).resolve())
    return keys


def _bases(named: Any) -> Iterator[str]:
    if isinstance(named, str):
        yield named
    elif isinstance(named, list):
        yield from named


def _read(path: Path) -> Dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_AnyTag)
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
