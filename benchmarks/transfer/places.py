"""What is fine-tuned where: models, places that arms are compared in, single trainings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, Tuple

from benchmarks.transfer.arms import ARMS, Arm
from benchmarks.transfer.data import DATA
from benchmarks.transfer.regimes import REGIMES

METRICS = {"seg": "mIoU", "det": "mAP"}

BATCH = 4
"""Images of an iteration of a fine-tuning."""


@dataclass(frozen=True)
class Model:
    """A model to fine-tune.

    Attributes
    ----------
    toolkit
        ``seg`` or ``det``.
    rate
        Peak learning rate of the fine-tuning.
    steps
        Its optimizer steps.
    imagenet
        Whether its backbone begins with EfficientNet-Lite0's weights from ImageNet. Otherwise all
        but the output layers has been trained on the drawn data set's source task.
    new
        Names (globs) of the output layers that are new where the others have been trained as well:
        a detector that is brought whole, for new classes. Only these are reset.
    base
        Name of its config file, if it is another model's.
    """

    toolkit: str
    rate: float
    steps: int
    imagenet: bool = False
    new: Tuple[str, ...] = ()
    base: str = ""


MODELS: Dict[str, Model] = {
    "pp_liteseg": Model("seg", 0.001, 1200),
    "gfl": Model("det", 0.004, 1200),
    "ppyoloe": Model("det", 0.002, 1200),
    "pp_liteseg_lite0": Model("seg", 0.001, 400, imagenet=True),
    "gfl_whole": Model("det", 0.004, 1200, new=("head.gfl_head_cls",), base="gfl"),
    "ppyoloe_whole": Model("det", 0.002, 1200, new=("yolo_head.pred_cls.*",), base="ppyoloe"),
    "gfl_lite0": Model("det", 0.002, 300, imagenet=True),
    "ppyoloe_lite0": Model("det", 0.001, 300, imagenet=True),
}


@dataclass(frozen=True)
class Place:
    """What arms are compared in.

    Attributes
    ----------
    data, model, regime
        Keys of `DATA`, `MODELS` and `REGIMES`.
    """

    data: str
    model: str
    regime: str

    @property
    def toolkit(self) -> str:
        """``seg`` or ``det``."""
        return MODELS[self.model].toolkit

    @property
    def steps(self) -> int:
        """Optimizer steps: whole epochs of those the model asks for, in PaddleDetection."""
        wanted = int(MODELS[self.model].steps * REGIMES[self.regime].length)
        return wanted // self.epoch * self.epoch if self.toolkit == "det" else wanted

    @property
    def epoch(self) -> int:
        """Optimizer steps of an epoch."""
        few = DATA[self.data].several if REGIMES[self.regime].several else DATA[self.data].few
        return few // BATCH

    @property
    def epochs(self) -> int:
        """Epochs, in PaddleDetection."""
        return self.steps // self.epoch


@dataclass(frozen=True)
class Run:
    """One fine-tuning.

    Attributes
    ----------
    place
        What it is compared in.
    arm
        A key of `ARMS` of its toolkit.
    seed
        Which images it trains on, and the seed of the training.
    """

    place: Place
    arm: str
    seed: int

    @property
    def key(self) -> str:
        """The run in one word."""
        return "/".join([*asdict(self.place).values(), self.arm, str(self.seed)])

    @property
    def what(self) -> Arm:
        """The arm."""
        return ARMS[self.place.toolkit][self.arm]

    def blocks(self) -> Dict[str, Any]:
        """What the arm adds to plain fine-tuning's config."""
        found = self.what.blocks(self.place.steps, self.seed)
        new = list(MODELS[self.place.model].new)
        for block in found.values() if new else ():
            block["layers"] = new
        return found
