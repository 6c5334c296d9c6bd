"""What a user is told when a run cannot start."""

from __future__ import annotations

import difflib
import sys
from types import TracebackType
from typing import Iterable, Optional, Type


class RifleError(ValueError):
    """A `rifle:` block, or a run it is used in, that cannot do what it says.

    The message is written for the user who edits the config: it names the file, the key and its
    value, and says what is allowed.

    Parameters
    ----------
    *args
        The message.
    topic
        Which section of docs/errors.md says more, by its anchor: what that means, and what can be
        done. Not needed of an error that is raised from another one with a topic, nor in packages
        of others, whose errors have no section.
    """

    def __init__(self, *args: object, topic: Optional[str] = None) -> None:
        super().__init__(*args)
        self._topic = topic

    @property
    def topic(self) -> Optional[str]:
        """The section that says more of this error, or of the one that it was raised from."""
        return self._topic or getattr(self.__cause__, "topic", None)


class CannotRun(RifleError):
    """A model cannot be run on made-up samples; whoever asked for it adds what was wanted."""


def shown(error: RifleError) -> str:
    """The message as a user reads it, with the command that says more."""
    more = f" (rifle-ext explain {error.topic})" if error.topic else ""
    return f"[RIFLE] {error}{more}"


def nearest(name: str, choices: Iterable[str], alike: float = 0.6) -> Optional[str]:
    """The choice spelled most like `name`, or None if none is so much `alike` (1: the same)."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=alike)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """``"; did you mean X?"``, or an empty string if nothing is close."""
    found = nearest(name, choices)
    return f"; did you mean {found}?" if found else ""


def show_errors_without_traceback() -> None:
    """Let the interpreter end on a RifleError with its message alone.

    A toolkit's train tool catches nothing, so its user would have to find the message below a
    traceback. Every other exception is shown as before.
    """
    previous = sys.excepthook
    if getattr(previous, "_rifle_ext", False):
        return

    def excepthook(
        kind: Type[BaseException], error: BaseException, traceback: Optional[TracebackType]
    ) -> None:
        if isinstance(error, RifleError):
            sys.stdout.flush()
            print(shown(error), file=sys.stderr)
        else:
            previous(kind, error, traceback)

    excepthook._rifle_ext = True  # type: ignore[attr-defined]
    sys.excepthook = excepthook
