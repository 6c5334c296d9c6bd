"""Read Paddle's autograd graph: which parameters reach a tensor without being mixed on the way.

Each tensor that a forward pass makes remembers the operation that made it, and that operation those
that made its operands. So after one forward pass, and with no backward pass at all, the graph shows
exactly how every parameter was used: as the weight of a convolution, as a learned scale, as a table
that queries start from. What layer class or attribute holds it does not matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from paddle import Tensor

Key = int
"""Identity of an operation, unique while the graph is alive."""

POINTWISE = frozenset(
    ["Add", "AddN", "Subtract", "Multiply", "Divide", "Maximum", "Minimum"]
    + ["Fmax", "Fmin", "ElementwisePow", "Lerp", "Prelu", "Where", "Concat", "Stack"]
    + ["SetValue", "SetValueWithTensor", "Scatter", "ScatterNdAdd", "IndexAdd", "PutAlongAxis"]
)
"""Operations of several operands that combine them value by value, or put them side by side."""

_ON_LOSSES = POINTWISE.union(
    ["Scale", "Exp", "Log", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Assign", "Clip"]
)
"""What is done to losses that are single values already: weighed, added up."""

_SUMS = frozenset(["Sum", "Mean", "PNorm", "Norm", "FrobeniusNorm"])


@dataclass(frozen=True)
class Operation:
    """One operation of a forward pass.

    Attributes
    ----------
    kind
        Its name in Paddle, such as ``Conv2d`` or ``Add``.
    operands
        The operations that made its operands; None for an operand that needs no gradient.
    """

    kind: str
    operands: Tuple[Optional[Key], ...]


@dataclass(frozen=True)
class Reached:
    """Where a walk from some tensors towards the inputs of the model ended.

    Attributes
    ----------
    parameters
        Names of those that reach the tensors through no other mixing operation.
    mixing
        The mixing operations at which the walk stopped, with the names of the parameters they mix
        by.
    """

    parameters: Set[str]
    mixing: Dict[Key, Set[str]]


class Graph:
    """The operations that made some tensors, and how they used parameters.

    Parameters
    ----------
    nodes
        `Tensor.grad_fn` of results of a forward pass. They keep the graph alive, without the
        tensors.
    parameters
        Trainable parameters by name, any shape.
    """

    def __init__(self, nodes: Sequence[Any], parameters: Mapping[str, Tensor]) -> None:
        self._leaves: Dict[Key, str] = {}
        for name, parameter in parameters.items():
            if parameter.grad_fn is not None:  # else it was never used
                self._leaves.setdefault(parameter.grad_fn.node_ptr(), name)
        self._shapes = {name: list(parameter.shape) for name, parameter in parameters.items()}
        self._nodes = nodes
        self._operations = _read(nodes)
        self._made_of = self._parameters_alone()
        self._mixing: Dict[Key, Set[str]] = {}
        for key, operation in self._operations.items():
            weights = self._weights(operation)
            if weights:
                self._mixing[key] = weights

    def reached(self, nodes: Iterable[Any], losses: bool = False) -> Reached:
        """What reaches the tensors that `nodes` made, some of those the graph was read from.

        Parameters
        ----------
        losses
            They are losses, single values: parameters that only weigh losses do not count.
        """
        return self._walk([node.node_ptr() for node in nodes], losses)

    def consumed(self) -> Dict[Key, Set[str]]:
        """The mixing operations whose results go into other mixing operations."""
        operands = [key for mixing in self._mixing for key in self._operations[mixing].operands]
        return self._walk([key for key in operands if key is not None]).mixing

    def _walk(self, starts: Iterable[Key], losses: bool = False) -> Reached:
        reached = Reached(set(), {})
        seen: Set[Tuple[Key, bool, bool]] = set()
        ahead = [(key, losses, False) for key in starts]
        while ahead:
            state = key, on_losses, summed = ahead.pop()
            if state in seen:
                continue
            seen.add(state)
            operation = self._operations[key]
            if key in self._leaves:
                if not on_losses:
                    reached.parameters.add(self._leaves[key])
                continue
            weights = self._mixing.get(key) or (self._factors(operation) if summed else set())
            if weights:
                reached.parameters.update(weights)
                reached.mixing[key] = weights
                continue
            on_losses = on_losses and operation.kind in _ON_LOSSES
            summed = operation.kind in _SUMS or (summed and len(operation.operands) == 1)
            for operand in operation.operands:
                if operand is not None and not (on_losses and operand in self._made_of):
                    ahead.append((operand, on_losses, summed))
        return reached

    def _weights(self, operation: Operation) -> Set[str]:
        """Names of the parameters by which an operation mixes its input; empty if it does not.

        It does where an operand is made of parameters alone, one of them of two or more dimensions.
        """
        if operation.kind in POINTWISE or len(operation.operands) < 2:
            return set()
        return self._large(self._weight_operands(operation))

    def _factors(self, operation: Operation) -> Set[str]:
        """The parameters of a product or difference that is summed afterwards.

        That is a linear layer, or a distance from prototypes, made by hand.
        """
        weights = self._weight_operands(operation)
        by_hand = operation.kind in ("Multiply", "Subtract")
        if not by_hand or len(weights) == len(operation.operands):
            return set()
        names = self._large(weights)
        wide = [n for n in names if sum(size > 1 for size in self._shapes[n]) >= 2]
        return names if wide else set()

    def _large(self, operands: List[Key]) -> Set[str]:
        names = set().union(*(self._made_of[key] for key in operands))
        return names if any(len(self._shapes[name]) >= 2 for name in names) else set()

    def _weight_operands(self, operation: Operation) -> List[Key]:
        """The operands made of parameters alone; if all are, the first one is the input."""
        known = [key for key in operation.operands if key is not None]
        made = [key for key in known if key in self._made_of]
        return (
            made[1:] if len(made) == len(known) > 1 and made[0] == operation.operands[0] else made
        )

    def _parameters_alone(self) -> Dict[Key, FrozenSet[str]]:
        """For each operation whose result depends on parameters alone: their names.

        An operand without gradient beside them may be a constant (the epsilon of a weight
        normalization) in an operation value by value, and is data (the image) in any other.
        """
        made_of: Dict[Key, FrozenSet[str]] = {}
        for key, operation in self._operations.items():  # operands come before what uses them
            if key in self._leaves:
                made_of[key] = frozenset([self._leaves[key]])
                continue
            known = [o for o in operation.operands if o is not None]
            complete = len(known) == len(operation.operands) or operation.kind in POINTWISE
            if known and complete and all(o in made_of for o in known):
                made_of[key] = frozenset().union(*(made_of[o] for o in known))
        return made_of


def _read(roots: Iterable[Any]) -> Dict[Key, Operation]:
    """All operations behind some, each after its operands."""
    operations: Dict[Key, Operation] = {}
    ahead = [(root, False) for root in roots]
    while ahead:
        node, operands_done = ahead.pop()
        key = node.node_ptr()
        if key in operations:
            continue
        operands = node.next_functions
        if operands_done:
            kind = re.sub(r"GradNode(Final)?$", "", node.name())
            keys = tuple(None if o is None else o.node_ptr() for o in operands)
            operations[key] = Operation(kind, keys)
        else:
            ahead.append((node, True))
            ahead.extend((o, False) for o in operands if o is not None)
    return operations
