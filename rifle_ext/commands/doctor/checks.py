"""What `rifle-ext doctor` can tell without importing paddle: pure functions, a finding each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, Optional, Sequence, Tuple

from rifle_ext.commands.doctor.wheels import PADDLE_2, PADDLE_3, PYTHONS_2, PYTHONS_3

OK, NOTE, PROBLEM = "ok", "note", "problem"

TESTED_PADDLE = PADDLE_2
FLAG = "FLAGS_set_to_1d"


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Attributes
    ----------
    check
        Name of the check.
    status
        ``ok``, ``note`` or ``problem``.
    found
        What was found.
    mend
        What to do about it; empty if nothing has to be done.
    """

    check: str
    status: str
    found: str
    mend: str = ""


class Package(NamedTuple):
    """An installed distribution."""

    name: str
    version: str


class Toolkit(NamedTuple):
    """A toolkit that a config can be trained with.

    Attributes
    ----------
    name, module, package
        Of the repository, for Python, in the package registry.
    tested, newest
        The package registry's version; the repository's newest release, which runs with paddle 3.
    """

    name: str
    module: str
    package: str
    tested: str
    newest: str

    @property
    def clone(self) -> str:
        """What to type to have the newest release."""
        address = f"https://github.com/PaddlePaddle/{self.name}"
        return f"git clone --depth 1 --branch release/{self.newest} {address}"


TOOLKITS = (
    Toolkit("PaddleSeg", "paddleseg", "paddleseg", "2.8.0", "2.9.1"),
    Toolkit("PaddleDetection", "ppdet", "paddledet", "2.6.0", "2.7.1"),
)


def release(version: str) -> Tuple[int, ...]:
    """The numbers that a version starts with: (2, 6, 2) of 2.6.2.post118."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in found.group().split(".")) if found else ()


def is_paddle_2(paddle: Optional[Package]) -> bool:
    """Whether it is a paddle that the registry's toolkits work with."""
    return paddle is not None and release(paddle.version)[:1] == (2,)


def check_python(version: Sequence[int], executable: str, paddle: Optional[Package]) -> Finding:
    """Whether this version of Python is one for the paddle that is there."""
    found, short = f"Python {'.'.join(map(str, version))} ({executable})", tuple(version[:2])
    if short not in {*PYTHONS_2, *PYTHONS_3}:
        mend = "python3.11 -m venv .venv, and install there"
        return Finding("python", NOTE, f"{found}; 3.8 to 3.13 are tested", mend)
    if short in PYTHONS_2 or not is_paddle_2(paddle):
        return Finding("python", OK, found)
    return Finding(
        "python",
        NOTE,
        f"{found}; paddle 2 with the registry's toolkits is for 3.8 to 3.11: PaddleDetection asks "
        "for numpy<1.24, which does not exist for newer ones",
        f"python3.11 -m venv .venv, and install there; or paddle {PADDLE_3} with checkouts of the "
        "toolkits",
    )


def check_pydantic(version: Optional[str]) -> Finding:
    """Whether pydantic can do what the block's validation needs."""
    if version is not None and release(version) >= (2, 10):
        return Finding("pydantic", OK, f"pydantic {version}")
    found = "not installed" if version is None else f"pydantic {version}, and 2.10 is needed"
    return Finding("pydantic", PROBLEM, found, 'pip install "pydantic>=2.10"')


def check_paddle(installed: Sequence[Package], folder: Optional[str]) -> Finding:
    """Whether there is one paddle, of the tested version."""
    if len(installed) > 1:
        both = " and ".join(f"{package.name} {package.version}" for package in installed)
        return Finding(
            "paddle",
            PROBLEM,
            f"{both} are installed at once, and have overwritten each other's files",
            f"pip uninstall -y {' '.join(package.name for package in installed)}, then one of: "
            f"pip install paddlepaddle-gpu=={TESTED_PADDLE}; "
            f"pip install paddlepaddle=={TESTED_PADDLE} (no GPU)",
        )
    if folder is None:
        said = f", though {installed[0].name} is installed" if installed else ""
        return Finding(
            "paddle",
            PROBLEM,
            f"there is no module paddle{said}",
            f"pip install --force-reinstall paddlepaddle-gpu=={TESTED_PADDLE} protobuf==3.20.3 "
            "(paddlepaddle without -gpu for the CPU)",
        )
    if not installed:
        mend = f"the tested version: pip install paddlepaddle=={TESTED_PADDLE}"
        return Finding("paddle", NOTE, f"in {folder}, not installed by pip: not tested", mend)
    name, version = installed[0]
    if release(version) in (release(TESTED_PADDLE), release(PADDLE_3)):
        return Finding("paddle", OK, f"{name} {version}, a tested version")
    if release(version)[:1] == (3,):
        found = f"{name} {version}, supported with the toolkits' newest releases"
        return Finding("paddle", OK, found)
    mend = f"a tested version: pip install {name}=={TESTED_PADDLE}"
    return Finding("paddle", NOTE, f"{name} {version}: not tested", mend)


def check_toolkit(
    toolkit: Toolkit, folder: Optional[str], version: Optional[str], paddle: Optional[Package]
) -> Finding:
    """Whether a toolkit is there and works with the paddle that is there.

    Parameters
    ----------
    toolkit
        The toolkit.
    folder
        Where its module was found, if it was.
    version
        The released version that is; None for a checkout.
    paddle
        The installed paddle.
    """
    name, _, package, tested, newest = toolkit
    wanted = f"the tested version: pip install {package}=={tested}"
    new_paddle = paddle is not None and not is_paddle_2(paddle)
    if new_paddle:
        wanted = f"release {newest}: {toolkit.clone}, and its folder on PYTHONPATH"
    if folder is None:
        return Finding(package, NOTE, f"{name} is not installed", f"if it is needed, {wanted}")
    if version is None:
        return Finding(package, OK, f"{name} from a checkout, {folder}")
    found = f"{package} {version}"
    if paddle and new_paddle and release(version)[:2] <= release(tested)[:2]:
        found += f" does not work with {paddle.name} {paddle.version} (type promotion errors)"
        mend = f"pip install {paddle.name}=={TESTED_PADDLE}; or {wanted}"
        return Finding(package, PROBLEM, found, mend)
    if release(version) == release(tested):
        return Finding(package, OK, f"{found}, the tested version")
    return Finding(package, NOTE, f"{found}: not tested", wanted)


def check_numpy(
    numpy: Optional[str],
    paddle: Optional[Package],
    paddledet: bool,
    python: Sequence[int],
    imgaug: bool = False,
) -> Finding:
    """Whether paddle and PaddleDetection know this numpy.

    Parameters
    ----------
    numpy
        Its version.
    paddle
        The installed paddle.
    paddledet
        Whether the package registry's PaddleDetection is there.
    python
        The version of Python.
    imgaug
        Whether there is a PaddleDetection from a checkout, which imports imgaug.
    """
    if numpy is None:
        return Finding("numpy", PROBLEM, "not installed", 'pip install "numpy<1.24"')
    found = f"numpy {numpy}"
    if is_paddle_2(paddle) and release(numpy) >= (2,):
        limit = "1.24" if paddledet and tuple(python[:2]) < (3, 12) else "2"
        mend = f'pip install "numpy<{limit}"'
        return Finding("numpy", PROBLEM, f"{found}: paddle 2.6 fails with numpy 2", mend)
    if imgaug and release(numpy) >= (2,):
        found += ": PaddleDetection imports imgaug 0.4.0, which fails with numpy 2"
        older = tuple(python[:2]) < (3, 13)
        mend = 'pip install "numpy<2"' if older else "use Python 3.8 to 3.12 for PaddleDetection"
        return Finding("numpy", PROBLEM if older else NOTE, found, mend)
    if not paddledet or release(numpy) < (1, 24):
        return Finding("numpy", OK, found)
    found += ": PaddleDetection 2.6 asks for numpy<1.24 and uses what newer ones have removed"
    if tuple(python[:2]) < (3, 12):
        return Finding("numpy", PROBLEM, found, 'pip install "numpy<1.24"')
    return Finding("numpy", NOTE, found, 'use Python 3.8 to 3.11, and pip install "numpy<1.24"')


def check_opencv(installed: Sequence[Package], found: bool) -> Finding:
    """Whether OpenCV is there once."""
    said = " and ".join(f"{package.name} {package.version}" for package in installed)
    if not found:
        return Finding(
            "opencv", NOTE, "no OpenCV; the toolkits need it", "pip install opencv-python==4.5.5.64"
        )
    if len(installed) < 2:
        return Finding("opencv", OK, said or "OpenCV, not installed by pip")
    names = " ".join(package.name for package in installed)
    return Finding(
        "opencv",
        NOTE,
        f"{said} are installed at once, and have overwritten each other's files",
        f"pip uninstall -y {names}, then pip install opencv-python==4.5.5.64",
    )


def check_flag(value: Optional[str], paddle: Optional[Package]) -> Finding:
    """Whether the toolkits' own tools get the 1-D tensors that they were written for."""
    if not is_paddle_2(paddle):
        return Finding("flag", OK, f"{FLAG} is not needed with this paddle")
    if (value or "").lower() in ("1", "true"):
        return Finding("flag", OK, f"{FLAG}={value}")
    return Finding(
        "flag",
        NOTE,
        f"{FLAG} is {'not set' if value is None else value}: the toolkits' own train tools were "
        "written for paddle 2.4 and fail in places with the 0-D tensors of paddle 2.5 and 2.6 "
        "(this package's train tools set it)",
        f"export {FLAG}=1",
    )
