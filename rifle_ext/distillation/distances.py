"""How far a network's answers are from a teacher's: pure functions of tensors.

The answers of an output layer come as ``(images, places, channels)``. Each function gives a sum
over places and how many places it is over, so that a mean over several layers can be taken.

- `softmax`: Li and Hoiem, "Learning without Forgetting" (ECCV 2016), section 3, equations 2 and 3:
  cross-entropy of two distributions over the classes, each raised to 1/T and normalized. As in the
  authors' code (lizhitwo/LearningWithoutForgetting) there is no factor of T squared. Per pixel it
  is what Michieli and Zanuttigh do in segmentation ("Incremental Learning Techniques for Semantic
  Segmentation", ICCVW 2019, output-level distillation).
- `sigmoid`: the same for classes that are each a question of yes or no.
- `distribution`: the same for a box's sides where each is a distribution over distances (Feng et
  al., "Overcoming Catastrophic Forgetting in Incremental Object Detection via Elastic Response
  Distillation", CVPR 2022, section 3.3).
- `distance`: squared, as of boxes in Shmelkov et al., "Incremental Learning of Object Detectors
  without Catastrophic Forgetting" (ICCV 2017), equation 2.
"""

from __future__ import annotations

from typing import List, Sequence, Tuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor

Summed = Tuple[Tensor, Tensor]
"""A sum over places, one value; over how many places it is, one value."""

SURE = 2.0
"""Standard deviations above the mean at which a teacher is sure (Feng et al. 2022, section 3.2)."""


def softmax(answers: Tensor, teacher: Tensor, counts: Tensor, group: int, t: float) -> Summed:
    """Cross-entropy of softmax distributions at temperature `t`.

    Parameters
    ----------
    answers, teacher
        Logits of shape ``(images, places, channels)``.
    counts
        How much each place counts, ``(images, places)``: 0 or 1.
    group
        Channels of one distribution; several stand side by side where there are several anchors.
    t
        The temperature.
    """
    shape = [*answers.shape[:2], -1, group]
    logs = F.log_softmax(answers.reshape(shape) / t, axis=-1)
    wanted = F.softmax(teacher.reshape(shape) / t, axis=-1)
    return _summed(-(wanted * logs).sum([-2, -1]), counts)


def sigmoid(answers: Tensor, teacher: Tensor, counts: Tensor, group: int, t: float) -> Summed:
    """Binary cross-entropy at temperature `t`, summed over the classes; parameters as `softmax`."""
    wanted = F.sigmoid(teacher / t)
    each = F.binary_cross_entropy_with_logits(answers / t, wanted, reduction="none")
    return _summed(each.sum(-1), counts)


def distribution(answers: Tensor, teacher: Tensor, counts: Tensor, group: int, t: float) -> Summed:
    """As `softmax`, the mean over the distributions of a place."""
    total, places = softmax(answers, teacher, counts, group, t)
    return total * (group / answers.shape[-1]), places


def distance(answers: Tensor, teacher: Tensor, counts: Tensor, group: int, t: float) -> Summed:
    """Squared distance, the mean over the channels; `group` and `t` play no part."""
    return _summed((answers - teacher).square().mean(-1), counts)


def _summed(each: Tensor, counts: Tensor) -> Summed:
    return (each * counts).sum(), counts.sum()


def sureness(teacher: Tensor, kind: str, group: int) -> Tensor:
    """How sure a teacher is that there is something at each place, ``(images, places)``.

    Parameters
    ----------
    teacher
        Logits of its classes, ``(images, places, channels)``.
    kind
        'sigmoid' or 'softmax'; of the latter the last class is none.
    group
        Channels of one softmax.
    """
    if kind == "softmax":
        shares = F.softmax(teacher.reshape([*teacher.shape[:2], -1, group]), axis=-1)
        return shares[..., :-1].max([-2, -1])
    return teacher.max(-1)


def where_sure(levels: Sequence[Tensor]) -> List[Tensor]:
    """1 where it is at least `SURE` standard deviations above its mean over an image, else 0.

    Parameters
    ----------
    levels
        How sure a teacher is at the places of each level of a pyramid, ``(images, places)``: the
        mean is over all of them.
    """
    together = paddle.concat(list(levels), axis=-1)
    mean = together.mean(-1, keepdim=True)
    least = mean + SURE * together.std(-1, unbiased=False, keepdim=True)
    return [(sure > least).astype("float32") for sure in levels]


def as_places(tensor: Tensor, axis: int) -> Tensor:
    """A layer's result as ``(images, places, channels)`` in full precision.

    Of one of two dimensions each row is a place, and all are of one image.
    """
    if len(tensor.shape) == 2:
        tensor = tensor.unsqueeze(0)
    if axis != -1:
        tensor = paddle.moveaxis(tensor, axis, -1)
    return tensor.reshape([tensor.shape[0], -1, tensor.shape[-1]]).astype("float32")
