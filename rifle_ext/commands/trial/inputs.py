"""What decides the result of a training, so that results of other settings are never mixed."""

from __future__ import annotations

import contextlib
import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence

import yaml

BASES = ("_base_", "_BASE_")
"""Keys under which PaddleSeg's and PaddleDetection's configs name the files they are based on."""

ROOTS = ("dataset_root", "dataset_dir")
"""Keys of folders that the paths beside them are relative to."""

DISTRIBUTIONS = ("paddlepaddle", "paddlepaddle-gpu", "paddleseg", "paddledet", "numpy")
PACKAGES = ("rifle_ext", "seg_hooks", "det_hooks")

Inputs = Dict[str, Dict[str, str]]
"""Digests and versions, by what they are of, in groups."""


def inputs(config: Path, options: Sequence[str]) -> Inputs:
    """What the arms of a trial have in common.

    Parameters
    ----------
    config
        The config file.
    options
        ``key=value`` pairs that override it in every arm.

    Returns
    -------
    dict
        ``options``; ``config files``, those it is based on among them; ``files named in the
        config``: data lists, annotations, pretrained weights, but not the images themselves;
        ``versions``; ``package``, a digest of its source.
    """
    files = config_files(config)
    named = {str(path): _digest(path) for path in named_files(merged(config), options)}
    return {
        "options": {"all arms": " ".join(options)},
        "config files": {str(path): _digest(path) for path in files},
        "files named in the config": named,
        "versions": versions(),
        "package": {"source": source_digest()},
    }


def difference(before: Inputs, now: Inputs) -> List[str]:
    """What differs, in words: the group, the thing."""
    found = []
    for group in sorted({*before, *now}):
        old, new = before.get(group, {}), now.get(group, {})
        names = (name for name in sorted({*old, *new}) if old.get(name) != new.get(name))
        found += [f"{group}: {name}" for name in names]
    return found


def combined(what: Any) -> str:
    """One digest of JSON-ready data."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def config_files(path: Path) -> List[Path]:
    """A config file and all that it is based on, each once; the given one first."""
    content = _mapping(path)
    found = [path]
    for base in _bases(content):
        found += [p for p in config_files(path.parent / Path(base).expanduser()) if p not in found]
    return found


def merged(path: Path) -> Dict[str, Any]:
    """A config file over those it is based on, mappings merged; much as both toolkits do it."""
    content = _mapping(path)
    whole: Dict[str, Any] = {}
    for base in _bases(content):
        whole = _over(merged(path.parent / Path(base).expanduser()), whole)
    return _over({k: v for k, v in content.items() if k not in BASES}, whole)


def named_files(config: Mapping[str, Any], options: Sequence[str]) -> List[Path]:
    """The files that exist among the paths in a config and in the values of overrides, in order."""
    values = (option.partition("=")[2] for option in options)
    paths = {*_paths(config, []), *(Path(value) for value in values if value)}
    return sorted(path for path in paths if _is_file(path))


def versions() -> Dict[str, str]:
    """Of what trains."""
    found = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def source_digest() -> str:
    """A digest of this package's Python files."""
    root, digest = Path(__file__).resolve().parents[3], hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()[:16]


def _mapping(path: Path) -> Dict[str, Any]:
    """A config file's content; what cannot be read, or is no mapping, is for the toolkit to say."""
    with contextlib.suppress(OSError, UnicodeError, yaml.YAMLError):
        content = yaml.load(path.read_text(encoding="utf-8"), _Lenient)
        return content if isinstance(content, dict) else {}
    return {}


class _Lenient(yaml.SafeLoader):
    """Reads PaddleDetection's tags (``!COCODataSet``) as the plain mappings below them."""


def _plain(loader: Any, suffix: str, node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Lenient.add_multi_constructor("!", _plain)
_Lenient.add_multi_constructor("tag:yaml.org,2002:python/", _plain)


def _bases(content: Mapping[str, Any]) -> List[str]:
    bases: Any = next((content[key] for key in BASES if content.get(key)), [])
    return [bases] if isinstance(bases, str) else list(bases)


def _over(top: Dict[str, Any], below: Dict[str, Any]) -> Dict[str, Any]:
    found = dict(below)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = _over(value, found[key]) if both else value
    return found


def _paths(value: Any, roots: List[Path]) -> Iterator[Path]:
    """The strings anywhere in a value as paths; also in the folder of the data set they are of."""
    if isinstance(value, dict):
        own = [Path(value[key]) for key in ROOTS if isinstance(value.get(key), str)]
        for inner in value.values():
            yield from _paths(inner, own or roots)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _paths(inner, roots)
    elif isinstance(value, str) and value:
        yield Path(value).expanduser()
        yield from (root / value for root in roots)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a string that is no path at all
        return False
