"""PaddleDetection's configs are merged into one global config."""

from contextlib import contextmanager


@contextmanager
def workspace_kept():
    """Give it back, so that the next training finds it as it was."""
    from det_hooks.workspace import Snapshot  # what runs PaddleSeg alone does without it

    before = Snapshot()
    try:
        yield
    finally:
        before.restore()
