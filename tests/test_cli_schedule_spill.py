"""``dnncc schedule --graph FILE --scratchpad BYTES``: the plan replayed from its JSON, and what does not fit."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import dnncc as api
import pytest
from commandline import dnncc, failure

# a is read at the end again; b is the largest. In order a, b, c, d: 10 + 20 + 5 bytes would live while c runs.
LONG = {
    "order": ["a", "b", "c", "d"],
    "nodes": [["a", 10, 1], ["b", 20, 1], ["c", 5, 1], ["d", 1, 1]],
    "edges": [["a", "b"], ["b", "c"], ["c", "d"], ["a", "d"]],
}


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def replay(graph: dict[str, Any], document: dict[str, Any]) -> None:
    """Runs the plan: every operand on chip, never more bytes or addresses than there are."""
    size = {n: s for n, s, _ in graph["nodes"]}
    inputs = {n: [p for p, c in graph["edges"] if c == n] for n in size}
    order = document["order"]
    assert Counter(order) == Counter(list(size))
    copied: set[object] = set()
    lives = [tuple(r) for r in document["residencies"]]
    starts = {(n, start) for n, start, _, _ in lives}
    for step, kind, n in document["events"]:
        if kind == "spill":
            assert any(m == n and start < step <= end for m, start, end, _ in lives)
            copied.add(n)
        else:
            assert n in copied and (n, step) in starts
    assert sum(size[n] for _, _, n in document["events"]) == document["bytes"]
    for step, n in enumerate(order):
        on_chip = {m: (x, x + size[m]) for m, start, end, x in lives if start <= step < end}
        assert {m for m in (*inputs[n], n) if size[m]} <= set(on_chip)
        assert sum(size[m] for m in on_chip) <= document["scratchpad"]
        taken = sorted(span for span in on_chip.values() if span[0] < span[1])
        assert all(a[1] <= b[0] for a, b in pairwise(taken))
        assert not taken or taken[-1][1] <= document["scratchpad"]
    for m, start, _, _ in lives:
        assert order[start] == m or [start, "retrieve", m] in document["events"]


def test_spill_and_retrieve(tmp_path: Path) -> None:
    path = write(tmp_path / "g.json", LONG)
    found = dnncc("schedule", "--graph", path, "--scratchpad", "30", "--json")
    assert (found.status, found.err) == (0, "")
    document = found.document
    keys = {"order", "events", "bytes", "bound", "status", "offsets", "seconds"}
    assert keys <= set(document)
    assert document["events"] == [[2, "spill", "a"], [3, "retrieve", "a"]]
    assert (document["bytes"], document["bound"], document["status"]) == (20, 20, "optimal")
    assert set(document["offsets"]) == {"a", "b", "c", "d"}
    replay(LONG, document)


def test_nothing_moves_at_the_least_peak(tmp_path: Path) -> None:
    path = write(tmp_path / "g.json", LONG)
    document = dnncc("schedule", "--graph", path, "--scratchpad", "35", "--json").document
    assert (document["bytes"], document["events"], document["status"]) == (0, [], "optimal")


def test_text(tmp_path: Path) -> None:
    path = write(tmp_path / "g.json", LONG)
    found = dnncc("schedule", "--graph", path, "--scratchpad", "30")
    assert "spill a" in found.out and "20 bytes are copied, optimal" in found.out


def test_below_the_largest_working_set(tmp_path: Path) -> None:
    path = write(tmp_path / "g.json", LONG)
    found = dnncc("schedule", "--graph", path, "--scratchpad", "29", "--json")
    assert found.status == 3
    error = found.document["error"]
    assert error["code"] == "E0302"
    assert "30" in error["message"] and "node b" in error["message"]
    assert "30" in error["help"]


@pytest.mark.parametrize("words", [("--buffers", "b.csv", "--scratchpad", "3"), ("--scratchpad", "3")])
def test_needs_a_graph(words: tuple[str, ...]) -> None:
    failure(2, "E0201", *(("schedule", *words)))


@pytest.mark.parametrize("seed", range(4))
def test_random_graphs_replay(seed: int, tmp_path: Path) -> None:
    rng = Random(seed)
    count = 25
    graph: dict[str, Any] = {
        "nodes": [[n, rng.randint(0, 60), 1] for n in range(count)],
        "edges": [[rng.randrange(max(0, n - 6), n), n] for n in range(1, count) for _ in range(2)],
    }
    peak = api.schedule_graph(graph).bound
    need = api.schedule_spills(graph, 0).working_set
    for scratchpad in {need, (need + peak) // 2, peak}:
        path = write(tmp_path / f"{scratchpad}.json", graph)
        document = dnncc("schedule", "--graph", path, "--scratchpad", str(scratchpad), "--json").document
        replay(graph, document)
        assert len(document["offsets"]) == count
        assert document["bound"] <= document["bytes"]
        assert scratchpad < peak or document["bytes"] == 0
