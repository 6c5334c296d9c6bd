"""FreezeOut's plan in the form that the commands show."""

from __future__ import annotations

import string
from typing import List

from rifle_ext.methods.freeze_out.plan import Plan
from rifle_ext.training.plans import MethodPlan, Moment

MARKS = string.digits[1:] + string.ascii_letters
"""What stands on the timeline for a stage, in their order."""


def outlook(plan: Plan) -> MethodPlan:
    """A plan as `rifle-ext plan` and `rifle-ext init` show it."""
    record, table = plan.record(), plan.timetable
    frozen = plan.frozen_values(table.total_steps)
    saved = record["saving"]
    return MethodPlan(
        record=record,
        summary=f"{len(plan.layers)} layers freeze one after the other, {frozen} of {plan.values} "
        f"values; estimated saving {saved['backward_twice']:.1%} of the time of forward and "
        f"backward passes ({saved['paper']:.1%} by the paper's count)",
        columns=("", "stage", "layers", "values", "first frozen", "all frozen"),
        rows=_rows(plan),
        number="the clock runs "
        + (f"from iteration {table.start}" if table.start else "from the beginning"),
        moments=_moments(plan),
        warnings=record["warnings"],
        hints={"layers": _hint(plan)},
    )


def _rows(plan: Plan) -> List[List[str]]:
    rows = []
    for mark, (stage, indices) in zip(_marks(), plan.stages().items()):
        steps = [plan.timetable.freezes_at(index) for index in indices]
        values = sum(plan.layers[index].values for index in indices)
        last = plan.timetable.total_steps
        shown = [str(step) if step < last else "never" for step in (min(steps), max(steps))]
        rows.append([mark, stage, str(len(indices)), str(values), *shown])
    return rows


def _moments(plan: Plan) -> List[Moment]:
    table, found = plan.timetable, []
    if table.start:
        waits = " and ".join(plan.waits_for)
        text = f"after iteration {table.start}: the clock starts, as {waits} needs all gradients"
        found.append(Moment(table.start, ">", f"{text} until then"))
    for mark, (stage, indices) in zip(_marks(), plan.stages().items()):
        step = max(table.freezes_at(index) for index in indices)
        if step < table.total_steps:
            part = plan.frozen_values(step) / plan.values
            text = f"{mark} after iteration {step}: {stage} is frozen"
            found.append(Moment(step, mark, f"{text}; {part:.1%} of all values are"))
    return sorted(found, key=lambda moment: moment.step)


def _marks() -> str:
    return MARKS + "*" * 1000


def _hint(plan: Plan) -> List[str]:
    stages = plan.stages()
    return ["'auto' freezes here, in this order:", *(f"  {stage}" for stage in stages)]
