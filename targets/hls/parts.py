"""FPGA parts: what each has, read from the TOML files in targets/hls/parts.

A part is data. To add one, add a file; ``dnncc list targets`` shows it. A path to a TOML file works wherever a part's
name does: ``--target hls:path/to/part.toml``.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dnncc.errors import Culprit, UsageError
from dnncc.runtime.suggest import did_you_mean
from dnncc.targets.hls.resources import KINDS, Resources

PREFIX = "hls:"
USABLE = {"lut": 0.7, "ff": 0.5, "bram18": 0.8, "dsp": 0.8}
"""Shares of a part that a design may take and still be placed and routed."""
_FOLDER = Path(__file__).parent / "parts"
_KEYS = ("name", "description", "device", "clock_ns", "resources", "dsp")


@dataclass(frozen=True)
class Part:
    """One FPGA.

    Attributes:
        name: what follows ``hls:`` in ``--target``.
        device: the vendor's name, for the Tcl script.
        clock_ns: the period that the script asks for.
        total: what the part has.
        wide, narrow: bits of the two signed operands that one DSP block multiplies.
        digest: SHA-256 of the file, for the manifest.
    """

    name: str
    description: str
    device: str
    clock_ns: float
    total: Resources
    wide: int
    narrow: int
    digest: str

    @property
    def usable(self) -> Resources:
        """What a design may take."""
        return Resources(**{kind: int(getattr(self.total, kind) * USABLE[kind]) for kind in KINDS})

    @property
    def target(self) -> str:
        return PREFIX + self.name


def is_hls(target: str) -> bool:
    """Whether ``--target`` names an FPGA."""
    return target.startswith(PREFIX) or target == PREFIX.rstrip(":")


def load_part(target: str) -> Part:
    """The part of ``hls:NAME`` or ``hls:PATH.toml``.

    Raises:
        UsageError: there is none, or its file is wrong.
    """
    name = target.removeprefix(PREFIX)
    if name.endswith(".toml"):
        return read_part(Path(name))
    known = {part.name: part for part in parts()}
    if name not in known:
        shown = ", ".join(PREFIX + key for key in known)
        raise UsageError(
            f"unknown FPGA part {name!r}{did_you_mean(name, known)}",
            help=f"choose one of {shown}, or hls:PATH.toml",
        )
    return known[name]


@cache
def parts() -> tuple[Part, ...]:
    """Every part that comes with dnncc, the smallest first."""
    found = [read_part(path) for path in sorted(_FOLDER.glob("*.toml"))]
    return tuple(sorted(found, key=lambda part: part.total.lut))


def read_part(path: Path) -> Part:
    """Reads one file.

    Raises:
        UsageError: it cannot be read, is not TOML, or a key or value is wrong; every wrong one is listed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the part file {path} cannot be read: {error.strerror}") from error
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except ValueError as error:
        raise UsageError(f"the part file {path} is not valid TOML: {error}") from error
    problems = [*_unknown(document), *_missing(document)]
    if problems:
        raise UsageError(f"the part file {path} is wrong", problems)
    return Part(
        document["name"],
        document["description"],
        document["device"],
        float(document["clock_ns"]),
        Resources(**document["resources"]),
        document["dsp"]["wide"],
        document["dsp"]["narrow"],
        hashlib.sha256(content).hexdigest(),
    )


def _unknown(document: Mapping[str, Any]) -> list[Culprit]:
    return [
        Culprit(key, reason=f"unknown key{did_you_mean(key, _KEYS)}") for key in document if key not in _KEYS
    ]


def _missing(document: Mapping[str, Any]) -> list[Culprit]:
    """Keys that are missing or have a wrong value."""
    found = [
        Culprit(key, reason="must be a string")
        for key in ("name", "description", "device")
        if not isinstance(document.get(key), str) or not document[key]
    ]
    clock = document.get("clock_ns")
    if not isinstance(clock, int | float) or isinstance(clock, bool) or not clock > 0:
        found.append(Culprit("clock_ns", reason="must be a positive number of nanoseconds"))
    for table, keys in (("resources", KINDS), ("dsp", ("wide", "narrow"))):
        given = document.get(table)
        if not isinstance(given, dict) or set(given) != set(keys):
            found.append(Culprit(table, reason=f"must be a table with {', '.join(keys)}"))
            continue
        for key, value in given.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                found.append(Culprit(f"{table}.{key}", reason=f"{value!r} is no whole number of at least 1"))
    return found
