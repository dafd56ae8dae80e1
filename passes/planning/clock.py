"""An explicit time limit. Without one, solvers never look at the clock."""

from __future__ import annotations

import time


class TimeUpError(Exception):
    """The time limit is over; whoever asked for it keeps the best answer so far."""


class Clock:
    """Seconds of wall time that a solver may use; None for no limit."""

    def __init__(self, limit: float | None = None) -> None:
        self._end = None if limit is None else time.monotonic() + max(limit, 0.0)

    @property
    def left(self) -> float | None:
        """Seconds that remain, at least 0; None without a limit."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    def check(self) -> None:
        """Raises TimeUpError once the limit is over."""
        if self._end is not None and time.monotonic() >= self._end:
            raise TimeUpError
