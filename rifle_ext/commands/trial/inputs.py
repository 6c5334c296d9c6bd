"""What decides the result of a training, so that results of other settings are never mixed."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

import yaml

BASES = ("_base_", "_BASE_")
"""Keys under which PaddleSeg's and PaddleDetection's configs name the files they are based on."""

ROOTS = ("dataset_root", "dataset_dir")
"""Keys of folders that the paths beside them are relative to."""

DISTRIBUTIONS = ("paddlepaddle", "paddlepaddle-gpu", "paddleseg", "paddledet", "numpy")
TOOLKITS = {"paddleseg": "paddleseg", "ppdet": "paddledet"}
"""Modules of the toolkits, and the names of their distributions."""
PACKAGES = ("rifle_ext", "seg_hooks", "det_hooks")

Inputs = Dict[str, Dict[str, str]]
"""Digests and versions, by what they are of, in groups."""


def inputs(
    config: Path,
    options: Sequence[str],
    imports: Sequence[str] = (),
    tool: str = "",
    laid_over: Optional[Path] = None,
) -> Inputs:
    """What the arms of a trial have in common.

    Parameters
    ----------
    config
        The config file.
    options
        ``key=value`` pairs that override it in every arm.
    imports
        Modules with components of the user's own, or their files.
    tool
        The train tool: a file, or a module of this package.
    laid_over
        The file of blocks that the environment lays over the config.

    Returns
    -------
    dict
        ``options``; ``config files``, those it is based on among them; ``files named in the
        config``: data lists, annotations, pretrained weights, but not the images themselves;
        ``code of others``: imports, the train tool; ``versions``; ``package``, a digest of its
        source.
    """
    over = [] if laid_over is None else [laid_over]
    files = [*config_files(config), *over]
    code = {name: _digest_if_file(name) for name in [*imports, *filter(None, [tool])]}
    return {
        "options": {"all arms": " ".join(options)},
        "config files": {str(path): _digest(path) for path in files},
        "files named in the config": named_files(
            [merged(config), *map(merged, over), _values(options)]
        ),
        "code of others": code,
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
        found += [p for p in config_files(path.parent / _path(base)) if p not in found]
    return found


def merged(path: Path) -> Dict[str, Any]:
    """A config file over those it is based on, mappings merged; much as both toolkits do it."""
    content = _mapping(path)
    whole: Dict[str, Any] = {}
    for base in _bases(content):
        whole = _over(merged(path.parent / _path(base)), whole)
    return _over({k: v for k, v in content.items() if k not in BASES}, whole)


def named_files(value: Any) -> Dict[str, str]:
    """Digests of the files that exist among the paths in a value, by path."""
    return {str(path): _digest(path) for path in sorted(set(_paths(value, []))) if _is_file(path)}


def _values(options: Sequence[str]) -> List[str]:
    return [option.partition("=")[2] for option in options]


def versions() -> Dict[str, str]:
    """Of what trains; a digest of the source of a toolkit that is used from a checkout."""
    found = {}
    for module, name in TOOLKITS.items():
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin is not None:
            found[name] = f"source {_source(Path(spec.origin).parent)}"
    for name in DISTRIBUTIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def source_digest() -> str:
    """A digest of this package's Python files."""
    root = Path(__file__).resolve().parents[3]
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _source(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _digest_if_file(name: str) -> str:
    return _digest(Path(name)) if _is_file(Path(name)) else "a module"


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
        for path in (_path(value), *(root / value for root in roots)):
            yield path
            if path.name:  # PaddleDetection lets the ending be left out
                yield path.with_name(f"{path.name}.pdparams")


def _path(value: str) -> Path:
    """Of a string; the home folder of a user that there is not stays as it is."""
    return Path(os.path.expanduser(value))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a string that is no path at all
        return False
