"""What every suite gets and gives."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bars import Bar
from benchmarks.networks import REPOSITORY
from benchmarks.tables import Table

Say = Callable[[str], None]
"""Takes a line of progress."""


@dataclass(frozen=True)
class Options:
    """
    Attributes:
        threads: that a solver may use.
        only: substrings; a suite leaves out the instances whose name has none of them. Empty: all.
    """

    threads: int = 2
    only: tuple[str, ...] = ()

    def wants(self, instance: str) -> bool:
        return not self.only or any(word in instance for word in self.only)


@dataclass(frozen=True)
class Outcome:
    """
    Attributes:
        tables: for people.
        bars: what had to be reached, and whether it was.
        records: one plain mapping per row, for --json.
        skipped: a sentence on everything that could not be measured.
    """

    tables: tuple[Table, ...] = ()
    bars: tuple[Bar, ...] = ()
    records: tuple[dict[str, Any], ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass
class Seconds:
    """Wall and processor seconds of a `timed` block; the latter does not count what other processes do."""

    wall: float = 0.0
    cpu: float = 0.0


@dataclass
class Watch:
    """Adds up times of one suite."""

    total: Seconds = field(default_factory=Seconds)

    @contextmanager
    def timed(self) -> Iterator[Seconds]:
        """Measures the block; the numbers are there when it has ended."""
        seconds = Seconds()
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield seconds
        finally:
            seconds.wall, seconds.cpu = time.perf_counter() - wall, time.process_time() - cpu
            self.total.wall += seconds.wall
            self.total.cpu += seconds.cpu


def data_folder(name: str) -> Path | None:
    """A folder of the optional data: below what DNNCC_DATA names, else ../shared/data beside the checkout."""
    base = os.environ.get("DNNCC_DATA")
    folder = (Path(base) if base else REPOSITORY.parent / "shared" / "data") / name
    return folder if folder.is_dir() else None
