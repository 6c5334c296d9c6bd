"""Read the curves of a training from its output folder, or from where its log is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

from rifle_ext.commands.report.told import lines_of
from rifle_ext.entry_groups import entry_group
from rifle_ext.errors import RifleError
from rifle_ext.training.curves import GROUP, Curves


def readers() -> Dict[str, Any]:
    """The modules of the toolkits, by name."""
    return {name: entry.load() for name, entry in entry_group(GROUP).items()}


def read(folder: Path, logs: Sequence[Path], starts: Sequence[int]) -> Curves:
    """The curves of a training.

    Parameters
    ----------
    folder
        Its output folder.
    logs
        Files with what its train tool printed, or folders with VisualDL records; if none are
        given, those in the output folder: text first.
    starts
        Iterations done before each part of the training: 0, then those of its resumptions.

    Raises
    ------
    RifleError
        If no toolkit knows any of it.
    """
    for path in logs:
        if not path.exists():
            raise RifleError(f"--log {path}: there is no such file or folder", topic="report")
    curves = _joined(_from_text(path) for path in texts_of(folder, logs))
    if curves is None:
        records = [r for path in logs or [folder] for r in _records(path)]
        if len(records) > len(starts):
            raise RifleError(
                f"{', '.join(map(str, records))}: {len(records)} VisualDL records of a training "
                f"that was resumed {len(starts) - 1} times, as far as is known, so they cannot be "
                "put in place; name what the train tool printed instead, or one record: --log PATH",
                topic="report",
            )
        curves = _joined(_from_record(p, start) for p, start in zip(records, starts))
    if curves is None:
        raise RifleError(
            f"{folder}: nothing there says how the training went: no *.log or *.txt file with what "
            "the train tool printed, and no VisualDL record (--use_vdl); keep what it prints, as "
            f"in `mkdir -p {folder}; python tools/train.py ... | tee {folder}/train.log`, or say "
            "where it is: --log PATH",
            topic="report",
        )
    return curves


def _joined(parts: Iterator[Optional[Curves]]) -> Optional[Curves]:
    whole: Optional[Curves] = None
    for part in parts:
        if part is not None and whole is not None and part.toolkit == whole.toolkit:
            whole.extend(part)
        elif part is not None and whole is None:
            whole = part
    return whole


def texts_of(folder: Path, logs: Sequence[Path]) -> List[Path]:
    """The files with what the train tool printed, in order: as for `read`."""
    return [p for p in logs if p.is_file() and not _is_record(p)] if logs else _texts(folder)


def _texts(folder: Path) -> List[Path]:
    found = [p for ending in ("*.log", "*.txt") for p in folder.rglob(ending) if p.is_file()]
    found = [path for path in found if not _is_record(path)]
    return sorted(found, key=lambda path: (path.stat().st_mtime, path))


def _records(path: Path) -> List[Path]:
    found = path.rglob("vdlrecords.*.log") if path.is_dir() else [path]
    return sorted((p for p in found if _is_record(p)), key=lambda p: p.name)  # named by time


def _is_record(path: Path) -> bool:
    return path.name.startswith("vdlrecords.")


def _from_text(path: Path) -> Optional[Curves]:
    for module in readers().values():
        curves = module.from_text(lines_of(path))
        if curves is not None:
            return curves
    return None


def _from_record(path: Path, start: int) -> Optional[Curves]:
    try:
        from visualdl import LogReader
    except ImportError as error:
        raise RifleError(
            f"{path}: to read it, install visualdl (pip install visualdl)", topic="package"
        ) from error
    reader = LogReader(file_path=str(path))
    scalars = {
        tag: [(r.id, float(r.timestamp), r.value) for r in reader.get_data("scalar", tag)]
        for tag in reader.get_tags().get("scalar", ())
    }
    found = (module.from_scalars(scalars, start) for module in readers().values())
    return next((curves for curves in found if curves is not None), None)
