"""What the released toolkits need of their surroundings; for this package's own train tools."""

from __future__ import annotations

import os


def before_paddle() -> None:
    """Set what has to be set before `paddle` is imported.

    `zlib` comes first because paddle exports zlib symbols of its own: an extension module loaded
    after it binds to those, and OpenCV can then read no PNG. The flag makes ``numpy()`` of 0-D
    tensors 1-D again; the released toolkits were written before paddle 2.5 and index those.
    """
    import zlib  # noqa: F401

    os.environ.setdefault("FLAGS_set_to_1d", "1")
