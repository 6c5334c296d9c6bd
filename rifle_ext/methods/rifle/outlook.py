"""RIFLE's plan in the form that the commands show."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping

from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.methods.rifle.journal import head_first, resets
from rifle_ext.methods.rifle.plan import Plan
from rifle_ext.methods.rifle.recovery import Recovery
from rifle_ext.methods.rifle.schedule import MOST, Reset, Schedule, make_schedule
from rifle_ext.training.plans import MethodPlan, Moment

PAPERS = RifleConfig.model_validate({"max_re_num": MOST})
"""The paper's equal periods."""


def outlook(plan: Plan) -> MethodPlan:
    """A plan as `rifle-ext plan` and `rifle-ext init` show it."""
    record, schedule = plan.record(), plan.schedule
    alone = head_first(plan.block)
    alone = alone and f"; {alone}"
    layers = record["layers"]
    tensors = sum(len(layer["parameters"]) for layer in layers)
    return MethodPlan(
        record=record,
        summary=f"{tensors} tensors of {len(layers)} layers are reset, {record['values']} values"
        + _of_loaded(plan)
        + _soft(plan.block),
        columns=("layer", "type", "tensor", "shape", "drawn"),
        rows=[row for layer in layers for row in _rows(layer)],
        number=resets(len(schedule.resets)),
        moments=[
            *(
                Moment(r.step, str(r.index), f"{_moment(r)}: {r.why}; {_way_back(way)}{alone}")
                for r, way in zip(schedule.resets, plan.recoveries)
            ),
            *(
                Moment(s.step, "x", f"{_moment(s)}: skipped, {s.why}", skipped=True)
                for s in schedule.skipped
            ),
        ],
        warnings=record["warnings"],
        hints=_hints(layers, schedule),
    )


def _of_loaded(plan: Plan) -> str:
    done = {"keep": "left alone", "restore": "restored", "redraw": "redrawn like the others"}
    if not plan.loaded:
        return ""
    return f"; {len(plan.loaded)} loaded tensors {done[plan.block.of_loaded]}"


def _soft(block: RifleConfig) -> str:
    """What is kept of the network before a reset."""
    kept = f"; {100 * block.keep:g} % of each value is kept" if block.keep else ""
    if not block.distill.weight:
        return kept
    return (
        f"{kept}; the network before a reset teaches the recovery, weight {block.distill.weight:g}"
    )


def _rows(layer: Mapping[str, Any]) -> List[List[str]]:
    rows = []
    name, kind = layer["name"] or "(the model itself)", layer["type"]
    for parameter in layer["parameters"]:
        tensor = parameter["name"].rpartition(".")[2]
        shape = "x".join(map(str, parameter["shape"])) or "one value"
        rows.append([name, kind, tensor, shape, _drawn(parameter)])
        name = kind = ""
    return rows


def _drawn(parameter: Mapping[str, Any]) -> str:
    if "constant" in parameter:
        return f"constant {parameter['constant']:g}"
    if all(size == 1 for size in parameter["shape"]):
        return f"one value, here {parameter['mean']:.3g}"
    return f"mean {parameter['mean']:.3g}, std {parameter['std']:.3g}"


def _moment(reset: Reset) -> str:
    return f"{reset.index}. after iteration {reset.step} (epoch {reset.epoch})"


def _way_back(way: Recovery) -> str:
    rate = (
        f"head's rate x{way.scale:.3g} for {way.iterations} iterations, " if way.iterations else ""
    )
    back = "not expected back" if way.expected is None else f"expected back after {way.expected}"
    return rate + back


def _hints(layers: Iterable[Mapping[str, Any]], schedule: Schedule) -> Dict[str, List[str]]:
    """What `layers` and `max_re_num` do to this training."""
    papers = make_schedule(PAPERS, schedule.total_steps, schedule.steps_per_epoch)
    return {
        "layers": [
            "'auto' resets here:",
            *(f"  {layer['name'] or '(the model itself)'} ({layer['type']})" for layer in layers),
        ],
        "max_re_num": [
            f"null, the default: here a reset {_moments(schedule.resets)}.",
            f"{MOST}, as in the paper: a reset {_moments(papers.resets)}. Short trainings do not "
            "recover from so many.",
        ],
    }


def _moments(planned: Iterable[Reset]) -> str:
    moments = [f"{reset.step} (epoch {reset.epoch})" for reset in planned]
    return f"after iteration {', '.join(moments)}" if moments else "never"
