"""One process, with what it starts itself: its log, its end, and no life after its parent's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Mapping, Optional, Sequence


class Process:
    """A process that runs, in a group of its own.

    Parameters
    ----------
    command
        What to run.
    log
        File that its standard output and error are appended to.
    environment
        What to add to the environment.
    cwd
        Where to run it; here unless given.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        cwd: Optional[Path] = None,
    ) -> None:
        self.log = log
        self.begun = time.monotonic()
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                list(command),
                cwd=cwd,
                stdin=subprocess.PIPE,  # closed when this process ends, however it does: child.py
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its number, and that of its group."""
        return self._popen.pid

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.begun

    def ended(self) -> Optional[int]:
        """Its exit code, None while it runs. What it leaves behind of its group is killed."""
        code = self._popen.poll()
        if code is not None:
            self.kill()
        return code

    def kill(self) -> None:
        """End it and all of its group, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        if self._popen.stdin is not None:
            self._popen.stdin.close()

    def wait(self, limit: float) -> int:
        """Its exit code.

        Raises
        ------
        subprocess.TimeoutExpired
            If it takes longer than so many seconds; it is killed.
        """
        try:
            return self._popen.wait(limit)
        finally:
            self.kill()
