"""Layered drawing of a directed acyclic graph (Sugiyama, Tagawa and Toda, 1981), small and deterministic."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

_SWEEPS = 6


@dataclass(frozen=True)
class Drawing:
    """Positions in units: nodes one apart or more within a layer, layers one apart.

    Attributes:
        positions: (x, layer) per node.
        routes: per edge, in the order given, the points that it passes, ends included.
    """

    positions: tuple[tuple[float, int], ...]
    routes: tuple[tuple[tuple[float, int], ...], ...]

    @property
    def width(self) -> float:
        """The largest x; the smallest is 0."""
        return max(
            (x for route in self.routes for x, _ in route),
            default=max((x for x, _ in self.positions), default=0),
        )

    @property
    def layers(self) -> int:
        return max((layer for _, layer in self.positions), default=-1) + 1


def layered(nodes: int, edges: Sequence[tuple[int, int]]) -> Drawing:
    """Lay out nodes 0 to ``nodes - 1``; every edge (a, b) must have a < b."""
    depth = [0] * nodes
    for a, b in sorted(edges, key=lambda e: e[1]):
        depth[b] = max(depth[b], depth[a] + 1)
    # An edge over several layers becomes a chain of invisible vertices, so that it does not cross nodes.
    layer = list(depth)
    chains = []
    for a, b in edges:
        chain = [a]
        for between in range(depth[a] + 1, depth[b]):
            chain.append(len(layer))
            layer.append(between)
        chains.append([*chain, b])
    above: list[list[int]] = [[] for _ in layer]
    below: list[list[int]] = [[] for _ in layer]
    for chain in chains:
        for u, v in itertools.pairwise(chain):
            below[u].append(v)
            above[v].append(u)
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for vertex, row in enumerate(layer):
        rows[row].append(vertex)
    x = _place(rows, above, below)
    point = [(x[v], layer[v]) for v in range(len(layer))]
    return Drawing(tuple(point[:nodes]), tuple(tuple(point[v] for v in chain) for chain in chains))


def _place(rows: list[list[int]], above: list[list[int]], below: list[list[int]]) -> dict[int, float]:
    """Order each row by the mean position of its neighbours, then move towards it as far as the spacing"
    " allows."""
    x = {v: float(i) for row in rows for i, v in enumerate(row)}
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for row in rows if down else rows[::-1]:
            wish = {v: sum(x[u] for u in near[v]) / len(near[v]) if near[v] else x[v] for v in row}
            row.sort(key=lambda v: (wish[v], x[v], v))
            x.update(_spaced(row, wish))
    least = min(x.values(), default=0.0)
    return {v: value - least for v, value in x.items()}


def _spaced(row: list[int], wish: dict[int, float]) -> dict[int, float]:
    """Positions one apart or more, as near to the wishes as possible (least squares, pool adjacent"
    " violators)."""
    groups: list[tuple[float, int]] = []  # of wishes less the index, which must not decrease: mean, length
    for i, vertex in enumerate(row):
        mean, length = wish[vertex] - i, 1
        while groups and groups[-1][0] > mean:
            before, many = groups.pop()
            mean, length = (before * many + mean * length) / (many + length), many + length
        groups.append((mean, length))
    means = [mean for mean, length in groups for _ in range(length)]
    return {vertex: means[i] + i for i, vertex in enumerate(row)}
