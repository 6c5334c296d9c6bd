"""Write docs/zoo.md from the results of the sweeps: ``python -m benchmarks.zoo.table``."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

from benchmarks.zoo.sweep import ROOT, read

TOOLKITS = {"seg": "PaddleSeg release/2.8", "det": "PaddleDetection release/2.6"}
MARK = "<!-- written by benchmarks/zoo/table.py -->"


def main() -> None:
    """Replace what stands below the mark of docs/zoo.md."""
    page = ROOT / "docs/zoo.md"
    above = page.read_text(encoding="utf-8").partition(MARK)[0]
    page.write_text(above + MARK + "\n" + "\n".join(_lines()) + "\n", encoding="utf-8")


def _lines() -> Iterator[str]:
    examined = {toolkit: read("examine", toolkit) for toolkit in TOOLKITS}
    compared = {toolkit: read("fidelity", toolkit) for toolkit in TOOLKITS}
    yield from _summary(examined, compared)
    for toolkit, name in TOOLKITS.items():
        yield from ["", f"## {name}: what was not found", "", *_failures(examined[toolkit])]
        yield from ["", f"## {name}: class-dependent, not output layers", ""]
        yield from _others(examined[toolkit])
        yield from ["", f"## {name}: redraws against constructions", ""]
        yield from _fidelity(compared[toolkit])
        yield from ["", f"## {name}: every config", "", *_configs(examined[toolkit])]


def _summary(examined: Dict[str, List[Any]], compared: Dict[str, List[Any]]) -> Iterator[str]:
    yield ""
    yield (
        "| | configs | outputs found | architectures among them | redraws the same | "
        "of them without a build |"
    )
    yield "|---" * 6 + "|"
    for toolkit, name in TOOLKITS.items():
        found = [r for r in examined[toolkit] if "plan" in r]
        kinds = {r["architecture"] for r in found}
        same = [r for r in compared[toolkit] if r["ok"]]
        alone = [r for r in same if not r["needs_builds"]]
        yield (
            f"| {name} | {len(examined[toolkit])} | {len(found)} | {len(kinds)} | "
            f"{len(same)} of {len(compared[toolkit])} | {len(alone)} |"
        )


def _failures(examined: List[Any]) -> Iterator[str]:
    yield from ["| config | why |", "|---|---|"]
    for result in examined:
        if "plan" not in result:
            yield f"| {_short(result)} | {_cell(result['verdict'])} |"


def _others(examined: List[Any]) -> Iterator[str]:
    yield from ["| architecture | parameters | why |", "|---|---|---|"]
    kinds: Dict[str, Dict[str, List[str]]] = {}
    for result in examined:
        if result.get("others") and result["architecture"] not in kinds:
            reasons = kinds.setdefault(result["architecture"], {})
            for name, reason in result["others"].items():
                reasons.setdefault(reason, []).append(name)
    for kind, reasons in sorted(kinds.items()):
        for reason, names in reasons.items():
            yield f"| {kind} | {', '.join(names)} | {reason} |"


def _fidelity(compared: List[Any]) -> Iterator[str]:
    yield (
        "| architecture | tensors | all constant | largest difference of means, in standard "
        "errors | of standard deviations | same |"
    )
    yield "|---|---|---|---|---|---|"
    for result in sorted(compared, key=lambda r: r.get("architecture", r["config"])):
        if "tensors" in result:
            yield (
                f"| {result['architecture']} | {result['tensors']} | {result['constant']} | "
                f"{result['worst_mean']:.1f} | {100 * result['worst_std']:.1f}% | "
                f"{'yes' if result['ok'] else 'no: ' + ', '.join(result['wrong'])} |"
            )
        else:
            yield f"| {_short(result)} | | | | | not run: {_cell(result['verdict'])} |"


def _configs(examined: List[Any]) -> Iterator[str]:
    yield from ["| config | model | verdict | layers | seconds | MB |", "|---|---|---|---|---|---|"]
    for result in examined:
        planned = result.get("plan", {"layers": []})
        yield (
            f"| {_short(result)} | {result.get('architecture', '')} | "
            f"{'found' if 'plan' in result else 'not found'} | {len(planned['layers']) or ''} | "
            f"{result['seconds']:.0f} | {result.get('megabytes', '')} |"
        )


def _short(result: Dict[str, Any]) -> str:
    return result["config"].replace("configs/", "", 1)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    main()
