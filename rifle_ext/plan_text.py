"""A plan as lines of text."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping


def lines(record: Mapping[str, Any]) -> List[str]:
    """The lines of a plan's record (`rifle_ext.plan.Plan.record`)."""
    layers = record["layers"]
    tensors = sum(len(layer["parameters"]) for layer in layers)
    said = [
        f"{record['model']}: {len(layers)} layers, {tensors} tensors, {record['values']} values",
    ]
    for layer in layers:
        said.append(f"  {layer['name'] or '(the model itself)'} ({layer['type']})")
        said += [f"    {_drawn(parameter)}" for parameter in layer["parameters"]]
    resets = len(record["resets"])
    said.append(
        f"{record['total_steps']} iterations in all, {record['steps_per_epoch']} an epoch; "
        f"{resets} {'reset' if resets == 1 else 'resets'}"
    )
    for reset in record["resets"]:
        said.append(f"  {_moment(reset)}: {reset['why']}")
    for skipped in record["skipped"]:
        said.append(f"  {_moment(skipped)}: skipped, {skipped['why']}")
    return said + [f"warning: {warning}" for warning in record["warnings"]]


def _drawn(parameter: Dict[str, Any]) -> str:
    about = f"{parameter['name']} {parameter['shape']}"
    if "constant" in parameter:
        return f"{about}: constant {parameter['constant']:g}"
    return f"{about}: mean {parameter['mean']:.3g}, std {parameter['std']:.3g}"


def _moment(reset: Dict[str, Any]) -> str:
    return f"{reset['index']}. after iteration {reset['step']} (epoch {reset['epoch']})"
