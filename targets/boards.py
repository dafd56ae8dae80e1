"""Boards: what a microcontroller or another machine has, read from the TOML files in targets/boards.

A board is data. To add one, add a file; `dnncc list boards` shows it. A path to a TOML file works wherever a
board's name does.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dnncc.errors import Culprit, UsageError
from dnncc.runtime.cores import CORES, HOST, Costs
from dnncc.runtime.cpus import CPUS, NATIVE, host_cpu
from dnncc.runtime.suggest import did_you_mean

DEFAULT_POOL = "ram"
_FOLDER = Path(__file__).parent / "boards"
_KINDS = ("ram", "flash", "external")
_RESERVED = ("arena", "input", "output")
_BOARD_KEYS = ("name", "aliases", "description", "core", "fpu", "clock_hz", "pools", "costs")
_POOL_KEYS = ("name", "kind", "address", "bytes", "wait_states")
# The host's caches and pipelines hide what single instructions cost: all alike, so that counts decide.
_HOST_COSTS = Costs(alu=1, load=1, store=1, multiply=1, multiply_long=1, dual_multiply=None, branch=1)


@dataclass(frozen=True)
class Pool:
    """One memory of a board.

    Attributes:
        name: "ram" for the default pool; others as in the part's manual.
        kind: "ram" (the network may place activations there), "flash", or "external" (activations may be copied there
            and back, nothing computes in it).
        address: where it begins; None if the board does not say.
        bytes: its capacity; None for no limit.
        wait_states: cycles that a data access waits at the board's clock, without caches or prefetch.
    """

    name: str
    kind: str
    address: int | None
    bytes: int | None
    wait_states: int


@dataclass(frozen=True)
class Board:
    """A microcontroller, a general-purpose processor, or the host.

    Attributes:
        name, aliases: what `--target` accepts.
        core: such as "cortex-m4" (see dnncc.runtime.cores), "x86-64-v3" (see dnncc.runtime.cpus), or "host".
        fpu: whether it has a single-precision FPU.
        clock_hz: the core's highest clock; None for the host.
        pools: RAM and flash; the first RAM is the default pool and named "ram".
        costs: cycles of single instructions.
        digest: SHA-256 of the file, for the manifest.
    """

    name: str
    aliases: tuple[str, ...]
    description: str
    core: str
    fpu: bool
    clock_hz: int | None
    pools: tuple[Pool, ...]
    costs: Costs
    digest: str

    @property
    def family(self) -> str:
        """Who generates code for it, see ``dnncc.targets.target``: "c" or "cpu"."""
        return "cpu" if self.core in CPUS else "c"

    @property
    def is_host(self) -> bool:
        """Whether it has an operating system around it, and memory without a stated end."""
        return self.core == HOST or self.core in CPUS

    @property
    def ram_pools(self) -> tuple[Pool, ...]:
        """The pools for activations, the default one first."""
        return tuple(pool for pool in self.pools if pool.kind == "ram")

    @property
    def ram(self) -> Pool:
        """The default pool."""
        return self.ram_pools[0]

    @property
    def external(self) -> Pool | None:
        """Where activations that do not fit are copied to, if there is such a memory."""
        return next((pool for pool in self.pools if pool.kind == "external"), None)

    @property
    def flash(self) -> Pool:
        """Where code and weights go."""
        return next(pool for pool in self.pools if pool.kind == "flash")


def load_board(name: str) -> Board:
    """The board of that name or alias, or described by that TOML file.

    Raises:
        UsageError: there is none, or its file is wrong.
    """
    if name.endswith(".toml"):
        return read_board(Path(name))
    known = {key: board for board in boards() for key in (board.name, *board.aliases)}
    if name == NATIVE:
        return known[host_cpu().name]
    if name not in known:
        raise UsageError(
            f"unknown board {name!r}{did_you_mean(name, [*known, NATIVE])}",
            help="`dnncc list boards` shows all; the path of a board's TOML file works too",
        )
    return known[name]


@cache
def _shipped() -> tuple[Board, ...]:
    found = tuple(read_board(path) for path in sorted(_FOLDER.glob("*.toml")))
    owner: dict[str, str] = {}
    for board in found:
        for key in (board.name, *board.aliases):
            if key in owner:
                raise UsageError(f"the boards {owner[key]!r} and {board.name!r} are both called {key!r}")
            owner[key] = board.name
    return found


def boards() -> list[Board]:
    """Every board that comes with dnncc, by name."""
    return list(_shipped())


def read_board(path: Path) -> Board:
    """Reads one board file.

    Raises:
        UsageError: it cannot be read, is not TOML, or a key or value is wrong; every wrong one is listed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the board file {path} cannot be read: {error.strerror}") from error
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except ValueError as error:
        raise UsageError(f"the board file {path} is not valid TOML: {error}") from error
    reader = _Reader()
    board = reader.board(document, hashlib.sha256(content).hexdigest())
    if reader.problems:
        raise UsageError(f"the board file {path} is wrong", reader.problems)
    return board


class _Reader:
    """Turns a TOML document into a board and collects everything that is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[Culprit] = []

    def board(self, document: Mapping[str, Any], digest: str) -> Board:
        self._known_keys("", document, _BOARD_KEYS)
        core = self._text("", document, "core")
        on_host = core == HOST or core in CPUS
        if core not in CORES and not on_host:
            self._wrong("core", f"{core!r} is none of {', '.join((*CORES, *CPUS, HOST))}")
        aliases = document.get("aliases", [])
        if not (isinstance(aliases, list) and all(isinstance(alias, str) for alias in aliases)):
            self._wrong("aliases", "must be a list of strings")
            aliases = []
        fpu = document.get("fpu")
        if not isinstance(fpu, bool):
            self._wrong("fpu", "must be true or false")
        elif fpu and core in CORES and not CORES[core].fpu:
            self._wrong("fpu", f"{core} has none")
        return Board(
            name=self._text("", document, "name"),
            aliases=tuple(aliases),
            description=self._text("", document, "description"),
            core=core,
            fpu=fpu is True,
            clock_hz=self._number("", document, "clock_hz", least=1, optional=on_host),
            pools=self._pools(document.get("pools"), on_host),
            costs=self._costs(document.get("costs", {}), CORES[core].costs if core in CORES else _HOST_COSTS),
            digest=digest,
        )

    def _pools(self, entries: Any, on_host: bool) -> tuple[Pool, ...]:
        if not (isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)):
            self._wrong("pools", "must be an array of tables, [[pools]]")
            return ()
        pools = tuple(self._pool(f"pools[{index}].", entry, on_host) for index, entry in enumerate(entries))
        ram = [pool.name for pool in pools if pool.kind == "ram"]
        if not ram or ram[0] != DEFAULT_POOL:
            self._wrong("pools", f"the first pool of kind 'ram' must be named {DEFAULT_POOL!r}")
        if not any(pool.kind == "flash" for pool in pools):
            self._wrong("pools", "there is no pool of kind 'flash'")
        if sum(pool.kind == "external" for pool in pools) > 1:
            self._wrong("pools", "there is more than one pool of kind 'external'")
        names = [pool.name for pool in pools]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self._wrong("pools", f"two pools are named {name!r}")
        self._overlaps(pools)
        return pools

    def _pool(self, where: str, entry: Mapping[str, Any], on_host: bool) -> Pool:
        self._known_keys(where, entry, _POOL_KEYS)
        name = self._text(where, entry, "name")
        if name and not (name.isascii() and name.isidentifier() and name.islower()):
            self._wrong(
                f"{where}name", f"{name!r} becomes part of a C macro: lower-case letters, digits and _"
            )
        if name in _RESERVED:
            self._wrong(f"{where}name", f"{name!r} would clash with a macro of the generated header")
        kind = self._text(where, entry, "kind")
        if kind not in _KINDS:
            self._wrong(f"{where}kind", f"{kind!r} is none of {', '.join(_KINDS)}")
        wait_states = self._number(where, entry, "wait_states", least=0, optional=True)
        return Pool(
            name=name,
            kind=kind,
            address=self._number(where, entry, "address", least=0, optional=on_host),
            bytes=self._number(where, entry, "bytes", least=1, optional=on_host),
            wait_states=wait_states or 0,
        )

    def _overlaps(self, pools: Collection[Pool]) -> None:
        ranges = sorted(
            (pool.address, pool.address + pool.bytes, pool.name)
            for pool in pools
            if pool.address is not None and pool.bytes is not None
        )
        for (_, end, first), (begin, _, second) in itertools.pairwise(ranges):
            if begin < end:
                self._wrong("pools", f"{first!r} and {second!r} overlap at 0x{begin:08x}")

    def _costs(self, table: Any, defaults: Costs) -> Costs:
        if not isinstance(table, dict):
            self._wrong("costs", "must be a table, [costs]")
            return defaults
        known = [field.name for field in dataclasses.fields(Costs)]
        self._known_keys("costs.", table, known)
        for key, value in table.items():
            if not _is_number(value) or value <= 0:
                self._wrong(f"costs.{key}", f"{value!r} is no positive number of cycles")
        valid = {key: float(value) for key, value in table.items() if key in known and _is_number(value)}
        return dataclasses.replace(defaults, **valid)

    def _known_keys(self, where: str, table: Mapping[str, Any], known: Collection[str]) -> None:
        for key in table:
            if key not in known:
                self._wrong(f"{where}{key}", f"unknown key{did_you_mean(key, known)}")

    def _text(self, where: str, table: Mapping[str, Any], key: str) -> str:
        value = table.get(key)
        if not isinstance(value, str) or not value:
            self._wrong(f"{where}{key}", "must be a string" if key in table else "is missing")
            return ""
        return value

    def _number(
        self, where: str, table: Mapping[str, Any], key: str, least: int, optional: bool = False
    ) -> int | None:
        if key not in table:
            if not optional:
                self._wrong(f"{where}{key}", "is missing")
            return None
        value = table[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            self._wrong(f"{where}{key}", f"{value!r} is no whole number of at least {least}")
            return None
        return value

    def _wrong(self, key: str, reason: str) -> None:
        self.problems.append(Culprit(key, reason=reason))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
