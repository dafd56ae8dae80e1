"""Plain instances of the memory planner's problems, from files: buffers as CSV, operator graphs as JSON.

Everything that is wrong with a file is said at once.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnncc.errors import Culprit, UsageError
from dnncc.passes.planning.problem import Buffer, Operator, OrderProblem, Tensor

_COLUMNS = ("id", "lower", "upper", "size")
_LARGEST = 2**53
"""Sums of numbers up to this stay exact in every solver."""

_GRAPH_FORM = (
    'a graph is {"order": [ids], "nodes": [[id, output bytes, duration], ...], '
    '"edges": [[producer, consumer], ...]}'
)
_BUFFERS_FORM = (
    "the first line names the columns id,lower,upper,size; lifetimes are half-open steps, sizes bytes"
)

Id = int | str


@dataclass(frozen=True)
class BufferInstance:
    """Buffers with fixed lifetimes.

    Attributes:
        names: the file's ids.
        buffers: in the file's order; their ids count from 0.
    """

    names: tuple[str, ...]
    buffers: tuple[Buffer, ...]


@dataclass(frozen=True)
class GraphInstance:
    """Operators of one output each, in a valid order.

    Attributes:
        name: the graph's name, or "".
        ids: the file's ids, in the given order; operators are counted along it.
        sizes: output bytes of each operator.
        durations: work of each operator, in any unit.
        inputs: of each operator the operators whose outputs it reads.
    """

    name: str
    ids: tuple[Id, ...]
    sizes: tuple[int, ...]
    durations: tuple[int, ...]
    inputs: tuple[tuple[int, ...], ...]

    def order_problem(self) -> OrderProblem:
        """Operator and tensor i are those of ``ids[i]``; an output lives until its last reader has run."""
        operators = (Operator(inputs, (i,)) for i, inputs in enumerate(self.inputs))
        return OrderProblem(tuple(map(Tensor, self.sizes)), tuple(operators))


def read_buffers(path: str | Path) -> BufferInstance:
    """Buffers from a CSV file with the columns id, lower, upper, size and, where wanted, alignment.

    Raises:
        UsageError: the file cannot be read, or is not such a file; every wrong line is named.
    """
    rows = [row for row in csv.reader(_text(path).splitlines()) if any(cell.strip() for cell in row)]
    if not rows:
        raise UsageError(f"{path} is empty", help=_BUFFERS_FORM)
    head = [cell.strip().lower() for cell in rows[0]]
    missing = [Culprit(name, reason="missing column") for name in _COLUMNS if name not in head]
    twice = [Culprit(n, reason="the column occurs twice") for n, c in Counter(head).items() if c > 1]
    if missing or twice:
        raise UsageError(f"{path} is not a CSV file of buffers", [*missing, *twice], _BUFFERS_FORM)
    names: list[str] = []
    buffers: list[Buffer] = []
    culprits: list[Culprit] = []
    for line, row in enumerate(rows[1:], 2):
        cells = dict(zip(head, (cell.strip() for cell in row), strict=False))
        name = cells.get("id", "")
        reasons = [f"{len(row)} cells for {len(head)} columns"] if len(row) != len(head) else []
        if not reasons:
            reasons = list(_faults(cells))
        if name and name in names:
            reasons.append("the id occurs twice")
        names.append(name)
        if reasons:
            culprits.append(
                Culprit(f"row {line} (id {name})" if name else f"row {line}", reason="; ".join(reasons))
            )
            continue
        lower, upper, size = (int(cells[c]) for c in _COLUMNS[1:])
        buffers.append(Buffer(len(buffers), lower, upper, size, int(cells.get("alignment") or 1)))
    if culprits:
        raise UsageError(f"{path} has buffers that cannot be", culprits, _BUFFERS_FORM)
    if not buffers:
        raise UsageError(f"{path} has no buffers", help=_BUFFERS_FORM)
    return BufferInstance(tuple(names), tuple(buffers))


def _faults(cells: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the cells of one buffer."""
    if not cells["id"]:
        yield "it has no id"
    numbers = {c: _whole(cells[c]) for c in _COLUMNS[1:]}
    for column, number in numbers.items():
        if number is None:
            yield f"{column} '{cells[column]}' is no whole number"
        elif abs(number) > _LARGEST:
            yield f"{column} {number} is too large"
    lower, upper, size = numbers.values()
    if lower is not None and upper is not None and lower >= upper:
        yield f"lower {lower} is not below upper {upper}"
    if size is not None and size < 0:
        yield f"size {size} is negative"
    alignment = cells.get("alignment")
    if alignment and (_whole(alignment) or 0) < 1:
        yield f"alignment '{alignment}' is no positive whole number"


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def read_graph(source: str | Path | Mapping[str, Any]) -> GraphInstance:
    """A graph from a JSON file, or from what `json.load` makes of one.

    Without "order" the given order is the first one that respects the edges, by the order of "nodes".

    Raises:
        UsageError: the file cannot be read, or is not such a graph; everything wrong is named.
    """
    if isinstance(source, Mapping):
        return _Reader("the graph", source).graph()
    try:
        document = json.loads(_text(source))
    except ValueError as error:
        raise UsageError(f"{source} is not JSON: {error}", help=_GRAPH_FORM) from error
    except RecursionError as error:
        raise UsageError(f"{source} is nested too deeply", help=_GRAPH_FORM) from error
    if not isinstance(document, dict):
        raise UsageError(f"{source} is not a JSON object", help=_GRAPH_FORM)
    return _Reader(str(source), document).graph()


class _Reader:
    """Checks and turns one JSON document into a graph."""

    def __init__(self, source: str, document: Mapping[str, Any]) -> None:
        self.source = source
        self.document = document
        self.culprits: list[Culprit] = []

    def graph(self) -> GraphInstance:
        nodes = self._nodes()
        edges = self._edges(nodes)
        self._stop()
        if not nodes:
            raise UsageError(f"{self.source} has no nodes", help=_GRAPH_FORM)
        order = self._order(nodes, edges)
        self._stop()
        position = {name: i for i, name in enumerate(order)}
        inputs: list[dict[int, None]] = [{} for _ in order]
        for producer, consumer in edges:
            inputs[position[consumer]][position[producer]] = None
        name = self.document.get("name")
        return GraphInstance(
            name if isinstance(name, str) else "",
            tuple(order),
            tuple(nodes[n][0] for n in order),
            tuple(nodes[n][1] for n in order),
            tuple(tuple(sorted(read)) for read in inputs),
        )

    def _wrong(self, name: str, reason: str) -> None:
        self.culprits.append(Culprit(name, reason=reason))

    def _stop(self) -> None:
        if self.culprits:
            raise UsageError(f"{self.source} is no graph that can be scheduled", self.culprits, _GRAPH_FORM)

    def _list(self, key: str) -> Sequence[Any]:
        value = self.document.get(key)
        if not isinstance(value, list | tuple):
            self._wrong(key, "missing" if value is None else "not a list")
            return ()
        return value

    def _nodes(self) -> dict[Id, tuple[int, int]]:
        found: dict[Id, tuple[int, int]] = {}
        for at, entry in enumerate(self._list("nodes")):
            if not isinstance(entry, list | tuple) or len(entry) != 3:
                self._wrong(f"nodes[{at}]", f"{_shown(entry)} is not [id, output bytes, duration]")
                continue
            name, *numbers = entry
            if not _is_id(name):
                self._wrong(f"nodes[{at}]", f"the id {_shown(name)} is neither a whole number nor text")
                continue
            if name in found:
                self._wrong(f"node {name}", "the id occurs twice")
            counts = [_count(number) for number in numbers]
            for what, number, count in zip(("output bytes", "duration"), numbers, counts, strict=True):
                if count is None:
                    reason = f"{what} {_shown(number)} is no whole number from 0 to {_LARGEST}"
                    self._wrong(f"node {name}", reason)
            found[name] = (counts[0] or 0, counts[1] or 0)
        return found

    def _edges(self, nodes: Mapping[Id, object]) -> list[tuple[Id, Id]]:
        found: list[tuple[Id, Id]] = []
        for at, entry in enumerate(self._list("edges")):
            if not isinstance(entry, list | tuple) or len(entry) != 2 or not all(map(_is_id, entry)):
                self._wrong(f"edges[{at}]", f"{_shown(entry)} is not [producer, consumer]")
                continue
            producer, consumer = entry
            for end in dict.fromkeys(entry):
                if end not in nodes:
                    self._wrong(f"edges[{at}]", f"{producer} -> {consumer}: there is no node {end}")
            if producer == consumer:
                self._wrong(f"edges[{at}]", f"node {producer} reads its own output")
            found.append((producer, consumer))
        return found

    def _order(self, nodes: Mapping[Id, object], edges: Sequence[tuple[Id, Id]]) -> list[Id]:
        order = self._sorted(nodes, edges)
        if order is None or self.document.get("order") is None:
            return order or []
        given = self._list("order")
        if bad := [entry for entry in given if not _is_id(entry)]:
            self._wrong("order", f"{_shown(bad[0])} is no id")
            return []
        for name, count in Counter(given).items():
            if name not in nodes:
                self._wrong("order", f"there is no node {name}")
            elif count > 1:
                self._wrong("order", f"node {name} occurs {count} times")
        for name in nodes.keys() - set(given):
            self._wrong("order", f"node {name} is missing")
        position = {name: at for at, name in enumerate(given)}
        for producer, consumer in dict.fromkeys(edges):
            if position.get(producer, -1) > position.get(consumer, len(position)):
                self._wrong("order", f"node {consumer} runs before node {producer}, whose output it reads")
        return list(given)

    def _sorted(self, nodes: Mapping[Id, object], edges: Sequence[tuple[Id, Id]]) -> list[Id] | None:
        """The nodes as listed, each after what it reads; None, and a culprit, where they read in a circle."""
        import heapq

        names = list(nodes)
        number = {name: i for i, name in enumerate(names)}
        readers: list[list[int]] = [[] for _ in names]
        waits = [0] * len(names)
        for producer, consumer in dict.fromkeys(edges):
            readers[number[producer]].append(number[consumer])
            waits[number[consumer]] += 1
        ready = [i for i, count in enumerate(waits) if not count]
        found = []
        while ready:
            now = heapq.heappop(ready)
            found.append(names[now])
            for reader in readers[now]:
                waits[reader] -= 1
                if not waits[reader]:
                    heapq.heappush(ready, reader)
        if len(found) == len(names):
            return found
        self._wrong("edges", f"a cycle: {' -> '.join(map(str, _cycle(names, readers, waits)))}")
        return None


def _cycle(names: Sequence[Id], readers: Sequence[Sequence[int]], waits: Sequence[int]) -> list[Id]:
    """Nodes that read one another in a circle, the first one again at the end; those that wait contain one."""
    feeder = {r: i for i, rs in enumerate(readers) if waits[i] for r in rs if waits[r]}
    at = next(i for i in feeder if waits[i])
    seen: dict[int, None] = {}
    while at not in seen:
        seen[at] = None
        at = feeder[at]
    circle = list(seen)[list(seen).index(at) :]
    return [names[i] for i in [at, *reversed(circle)]]


def _is_id(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _count(value: object) -> int | None:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if not whole or isinstance(value, bool):
        return None
    number = int(value)  # type: ignore[call-overload]  # it is a number
    return number if 0 <= number <= _LARGEST else None


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:37] + "..."


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text: {error.reason} at byte {error.start}") from error
