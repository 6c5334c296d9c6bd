"""What Learning without Forgetting would do to a training, in the form that the commands show."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from rifle_ext.methods.lwf.block import LwfConfig
from rifle_ext.methods.lwf.old_task import OldTask
from rifle_ext.training.blocks import shown
from rifle_ext.training.hooks import TrainingRun
from rifle_ext.training.plans import MethodPlan, Moment


def outlook(block: LwfConfig, task: Optional[OldTask], run: TrainingRun) -> MethodPlan:
    """The plan of a training; without a task the weight is 0."""
    if task is None:
        return MethodPlan(record={"weight": 0.0}, summary="weight = 0: plain fine-tuning")
    said = record(block, task, run)
    steps = said["warm_up"]
    alone = Moment(steps, "!", f"after iteration {steps}: everything else learns, too")
    return MethodPlan(
        record=said,
        summary=f"the answers of a network of {task.classes} classes are kept in "
        f"{len(said['answers'])} output layers; the new classes have "
        f"{len(task.new)} tensors of their own",
        columns=("layer", "old head", "compared by"),
        rows=[_row(answer) for answer in said["answers"]],
        moments=[alone] if 0 < steps < run.total_steps else [],
        warnings=said["warnings"],
    )


def warnings(block: LwfConfig, run: TrainingRun) -> List[str]:
    """What a user should think about, a sentence each."""
    if block.warm_up_steps(run.steps_per_epoch) < run.total_steps:
        return []
    return [
        f"lwf.warm_up = {shown(block.warm_up)}: nothing but the new output layers learns in this "
        f"training of {run.total_steps} iterations; set less"
    ]


def _row(answer: Dict[str, Any]) -> List[str]:
    return [answer["layer"], "yes" if answer["old_head"] else "shared", answer["kind"]]


def record(block: LwfConfig, task: OldTask, run: TrainingRun) -> Dict[str, Any]:
    """The plan as JSON-ready data; the README beside this module lists the keys."""
    answers: List[Dict[str, Any]] = []
    for answer in task.answers:
        said = {"layer": answer.name, "old_head": answer.of_classes, "kind": answer.kind}
        if said not in answers:
            answers.append(said)
    return {
        "total_steps": run.total_steps,
        "steps_per_epoch": run.steps_per_epoch,
        "teacher": task.source,
        "classes": task.classes,
        "weight": block.weight,
        "temperature": block.temperature,
        "warm_up": block.warm_up_steps(run.steps_per_epoch),
        "answers": answers,
        "new": list(task.new),
        "warnings": warnings(block, run),
    }
