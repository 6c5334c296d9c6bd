"""Which build of paddle runs on which GPU: pure facts, each with where it was learned."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

Version = Tuple[int, ...]

PADDLES_SITE = "https://www.paddlepaddle.org.cn/install"

PADDLE_2, PADDLE_3 = "2.6.2", "3.3.1"
"""The tested versions."""

PYTHONS_2 = tuple((3, minor) for minor in range(8, 12))
"""Versions of Python that paddle 2.6 with the released toolkits runs on: PaddleDetection asks for
numpy<1.24, which does not exist for newer ones."""

PYTHONS_3 = tuple((3, minor) for minor in range(9, 14))
"""Those that the tested paddle 3 has wheels for."""

WHEEL_CODE = ((6, 1), (7, 0), (7, 5), (8, 0), (8, 6))
"""Compute capabilities that the registry's wheels of paddle 2.5.1 to 2.6.2 hold machine code for,
read from their files. They hold no PTX, which a driver could translate for other GPUs."""


class Wheel(NamedTuple):
    """A GPU build of paddle.

    Attributes
    ----------
    requirement
        For pip.
    source
        Paddle's own package index that has it; empty: the package registry.
    cuda
        The version of CUDA that it is built for.
    driver
        The oldest driver that such a program runs with.
    """

    requirement: str
    source: str
    cuda: str
    driver: Version

    @property
    def command(self) -> str:
        """What to type."""
        return f'pip install "{self.requirement}"' + (f" -i {self.source}" if self.source else "")


# Drivers: https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
CUDA_11, CUDA_12 = (450, 80, 2), (525, 60, 13)
_OWN_INDEX = "https://www.paddlepaddle.org.cn/packages/stable"

REGISTRY = Wheel(f"paddlepaddle-gpu=={PADDLE_2}", "", "11.8", CUDA_11)
"""The package registry's newest: it has none of paddle 3."""

HOPPER = Wheel("paddlepaddle-gpu>=3.3,<3.4", f"{_OWN_INDEX}/cu126/", "12.6", CUDA_12)
"""https://github.com/PaddlePaddle/Paddle/issues/78036 (a maintainer, for 3.3)."""

BLACKWELL = Wheel("paddlepaddle-gpu>=3.3,<3.4", f"{_OWN_INDEX}/cu129/", "12.9", CUDA_12)
"""https://github.com/PaddlePaddle/Paddle/issues/76037 (a maintainer): GPUs newer than Hopper need
the build for CUDA 12.9."""


def has_code_for(capability: Tuple[int, int]) -> bool:
    """Whether the registry's wheel runs on a GPU: code runs on later minor versions, too."""
    major, minor = capability
    return any(major == of and minor >= least for of, least in WHEEL_CODE)


def of_paddle_3(capability: Optional[Tuple[int, int]]) -> Wheel:
    """Paddle 3 for a GPU; for CUDA 12.6 if its compute capability is not known."""
    return BLACKWELL if capability is not None and capability >= (10, 0) else HOPPER
