"""``dnncc schedule`` on plain instances: what it prints, and what it says about files that are wrong."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from commandline import dnncc, failure
from dnncc.passes.planning import order
from dnncc.passes.planning.recompute import solve as recompute

BUFFERS = "id,lower,upper,size\na,0,3,10\nb,2,5,20\nc,4,6,10\n"
DIAMOND: dict[str, Any] = {
    "name": "diamond",
    "order": [7, 3, "x", 1],
    "nodes": [[1, 2, 5], [3, 30, 1], [7, 10, 4], ["x", 4, 2]],
    "edges": [[7, 3], [7, "x"], [3, 1], ["x", 1]],
}
"""In the given order 44 bytes: all of 7, 3 and x live while x runs. x before 3 needs as many."""


def write(path: Path, content: str | object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_buffers(tmp_path: Path) -> None:
    path = write(tmp_path / "b.csv", BUFFERS)
    found = dnncc("schedule", "--buffers", path, "--capacity", "30", "--json")
    assert (found.status, found.err) == (0, "")
    document = found.document
    assert {"placed", "height", "bound", "offsets", "seconds"} <= set(document)
    assert (document["placed"], document["height"], document["bound"]) == (True, 30, 30)
    assert document["status"] == "optimal"
    offsets = document["offsets"]
    assert set(offsets) == {"a", "b", "c"}
    assert abs(offsets["a"] - offsets["b"]) in (10, 20)
    assert 0 <= document["seconds"] < 60
    shown = dnncc("schedule", "--buffers", path)
    assert shown.status == 0
    assert "3 buffers in 30 bytes; optimal" in shown.out


def test_half_open_lifetimes_columns_in_any_order_and_alignment(tmp_path: Path) -> None:
    text = "size,note,upper,id,lower,alignment\n6,x,2,first,0,\n7,y,4,second,2,\n3,z,4,third,1,8\n"
    found = dnncc("schedule", "--buffers", write(tmp_path / "b.csv", text), "--json").document
    assert found["height"] == 10
    assert found["offsets"] == {"first": 3, "second": 3, "third": 0}


def test_a_capacity_below_the_bound_names_what_sets_it(tmp_path: Path) -> None:
    path = write(tmp_path / "b.csv", BUFFERS)
    error = failure(3, "E0302", "schedule", "--buffers", path, "--capacity", "29")
    assert "at least 30 are needed" in error["message"]
    assert "step 2" in error["message"]
    assert {node["name"] for node in error["nodes"]} == {"buffer a", "buffer b"}
    document = dnncc("schedule", "--buffers", path, "--capacity", "29", "--json").document
    assert (document["placed"], document["status"], document["bound"]) == (False, "infeasible", 30)
    assert set(document["offsets"]) == {"a", "b", "c"}


def test_graph(tmp_path: Path) -> None:
    path = write(tmp_path / "g.json", DIAMOND)
    found = dnncc("schedule", "--graph", path, "--json", "--time-limit", "5", "--threads", "2")
    assert (found.status, found.err) == (0, "")
    document = found.document
    assert {"order", "peak", "bound", "status", "seconds"} <= set(document)
    assert document["order"] in ([7, 3, "x", 1], [7, "x", 3, 1])
    assert (document["peak"], document["bound"], document["given_peak"]) == (44, 44, 44)
    assert document["status"] == "optimal"
    shown = dnncc("schedule", "--graph", path)
    assert "peak 44 bytes, given order 44; optimal" in shown.out


def test_graph_without_an_order_takes_the_first_valid_one(tmp_path: Path) -> None:
    chain = {"nodes": [["c", 1, 0], ["a", 5, 0], ["b", 2, 0]], "edges": [["a", "b"], ["b", "c"]]}
    document = dnncc("schedule", "--graph", write(tmp_path / "g.json", chain), "--json").document
    assert document["order"] == ["a", "b", "c"]
    assert document["peak"] == 7


TRAINING: dict[str, Any] = {
    "nodes": [[f"f{i}", 100, 10] for i in range(6)] + [[f"b{i}", 100, 20] for i in reversed(range(6))],
    "edges": [
        *([f"f{i}", f"f{i + 1}"] for i in range(5)),
        *([f"f{i}", f"b{i}"] for i in range(6)),
        *([f"b{i + 1}", f"b{i}"] for i in range(5)),
    ],
}
"""Six layers forwards and backwards: 700 bytes at the turn, in every order."""


def replay(graph: dict[str, Any], sequence: list[Any]) -> tuple[int, int]:
    """(peak, duration) of a sequence: an output stays up to the last reader before its next copy."""
    size = {name: bytes for name, bytes, _ in graph["nodes"]}
    reads = {name: [u for u, v in graph["edges"] if v == name] for name in size}
    load = [size[name] for name in sequence]
    for copy, name in enumerate(sequence):
        following = [i for i in range(copy + 1, len(sequence)) if sequence[i] == name] or [len(sequence)]
        uses = [
            i for i in range(copy + 1, following[0] + 1) if i < len(sequence) and name in reads[sequence[i]]
        ]
        for step in range(copy + 1, max(uses, default=copy) + 1):
            load[step] += size[name]
    for at, name in enumerate(sequence):
        assert all(u in sequence[:at] for u in reads[name])
    duration = {name: work for name, _, work in graph["nodes"]}
    return max(load), sum(duration[name] for name in sequence)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("budget", "bytes"), [("0.7", 490), ("500", 500), ("1.0", 700), ("499.9", 499)])
def test_recompute(budget: str, bytes: int, fixed: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "g.json", TRAINING)
    words = ["schedule", "--graph", path, "--budget", budget, *(["--fixed-order"] if fixed else [])]
    found = dnncc(*words, "--json", "--time-limit", "20", "--threads", "2")
    assert (found.status, found.err) == (0, "")
    document = found.document
    assert {"sequence", "peak", "budget", "duration", "tdi_percent", "bound_percent", "status"} <= set(
        document
    )
    assert document["budget"] == bytes
    assert document["given_peak"] == 700
    assert document["fixed_order"] is fixed
    assert (document["peak"], document["duration"]) == replay(TRAINING, document["sequence"])
    assert document["peak"] <= bytes
    assert document["tdi_percent"] == pytest.approx(100 * (document["duration"] / 180 - 1))
    assert document["status"] == "optimal"
    assert document["bound_percent"] == document["tdi_percent"]
    assert (document["tdi_percent"] == 0) == (budget == "1.0")
    assert 0 <= document["seconds"] < 60
    if fixed:
        assert list(dict.fromkeys(document["sequence"])) == [name for name, _, _ in TRAINING["nodes"]]
    shown = dnncc(*words)
    assert shown.status == 0
    assert f"of {bytes} bytes, given order 700" in shown.out
    assert shown.out.count("execution 2") >= (budget != "1.0")


def test_a_budget_below_the_bound_names_the_bound_the_node_and_a_way_out(tmp_path: Path) -> None:
    path = write(tmp_path / "g.json", TRAINING)
    error = failure(3, "E0302", "schedule", "--graph", path, "--budget", "299")
    assert "at least 300" in error["message"]
    assert "node b4" in error["message"]
    assert [node["name"] for node in error["nodes"]] == ["node b4", "node f4", "node b5"]
    assert "in parts" in error["help"]
    document = dnncc("schedule", "--graph", path, "--budget", "299", "--json").document
    assert (document["status"], document["peak_bound"], document["bound_percent"]) == (
        "infeasible",
        300,
        None,
    )
    assert (document["peak"], document["duration"]) == replay(TRAINING, document["sequence"])


@pytest.mark.parametrize("words", [(), ("--fixed-order",)])
def test_a_budget_that_nothing_meets_though_every_operator_fits(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """Whichever half comes second is made from 9 bytes while 5 of the first half wait."""
    graph = {
        "nodes": [["in1", 9, 1], ["half1", 5, 1], ["in2", 9, 1], ["half2", 5, 1], ["out", 1, 1]],
        "edges": [["in1", "half1"], ["in2", "half2"], ["half1", "out"], ["half2", "out"]],
    }
    path = write(tmp_path / "g.json", graph)
    error = failure(3, "E0302", "schedule", "--graph", path, "--budget", "18", *words)
    assert "it is proven that no sequence keeps within 18 bytes" in error["message"]
    document = dnncc("schedule", "--graph", path, "--budget", "18", *words, "--json").document
    assert (document["status"], document["peak"], document["peak_bound"]) == ("infeasible", 19, 14)
    assert dnncc("schedule", "--graph", path, "--budget", "19", *words).status == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("id,lower,upper,size\n", "no buffers"),
        ("id,lower,size\na,0,1\n", "missing column"),
        ("0,1,2,3\n", "size: missing column"),
        ("id,lower,upper,size,size\na,0,1,2,3\n", "size: the column occurs twice"),
        ("id,lower,upper,size\na,0,1,-4\n", "size -4 is negative"),
        ("id,lower,upper,size\na,3,3,4\n", "lower 3 is not below upper 3"),
        ("id,lower,upper,size\na,0,1,x\n", "size 'x' is no whole number"),
        ("id,lower,upper,size\na,0,nan,1\n", "upper 'nan' is no whole number"),
        ("id,lower,upper,size\na,0,1,1.5\n", "size '1.5' is no whole number"),
        ("id,lower,upper,size\na,0,1\n", "3 cells for 4 columns"),
        ("id,lower,upper,size\n,0,1,1\n", "it has no id"),
        ("id,lower,upper,size\na,0,1,1\na,1,2,1\n", "the id occurs twice"),
        ("id,lower,upper,size,alignment\na,0,1,1,0\n", "alignment '0'"),
        (f"id,lower,upper,size\na,0,1,1{'0' * 30}\n", "too large"),
        ('{"order": []}\n', "missing column"),
    ],
)
def test_wrong_buffers(text: str, expected: str, tmp_path: Path) -> None:
    path = write(tmp_path / "b.csv", text)
    error = failure(2, "E0201", "schedule", "--buffers", path, "--capacity", "9")
    said = [error["message"], *(f"{node['name']}: {node['reason']}" for node in error["nodes"])]
    assert any(expected in line for line in said)


def test_every_wrong_buffer_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "b.csv", "id,lower,upper,size\na,2,1,-1\nb,0,1,1\nb,0,z,1\n")
    error = failure(2, "E0201", "schedule", "--buffers", path)
    assert [node["name"] for node in error["nodes"]] == ["row 2 (id a)", "row 4 (id b)"]
    assert "lower 2" in error["nodes"][0]["reason"]
    assert "size -1" in error["nodes"][0]["reason"]
    assert "'z'" in error["nodes"][1]["reason"]
    assert "twice" in error["nodes"][1]["reason"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ({"nodes": None}, "nodes: missing"),
        ({"nodes": 3}, "nodes: not a list"),
        ({"nodes": [], "edges": [], "order": []}, "has no nodes"),
        ({"edges": None}, "edges: missing"),
        ({"nodes": [[1, 2]]}, "[1, 2] is not [id, output bytes, duration]"),
        ({"nodes": [[1.5, 2, 3]]}, "the id 1.5"),
        ({"nodes": [[True, 2, 3]]}, "the id true"),
        ({"nodes": [[1, -2, 3]]}, "output bytes -2"),
        ({"nodes": [[1, 2**60, 3]]}, f"output bytes {2**60} is no whole number from 0 to {2**53}"),
        ({"nodes": [[1, 2, -3]]}, "duration -3"),
        ({"nodes": [[1, "2", 3]]}, 'output bytes "2"'),
        ({"nodes": [[1, 2, float("nan")]]}, "duration NaN"),
        ({"nodes": [[1, 2, 2.5]]}, "duration 2.5"),
        ({"nodes": [*DIAMOND["nodes"], [3, 1, 1]]}, "node 3: the id occurs twice"),
        ({"edges": [[7, 8]]}, "there is no node 8"),
        ({"edges": [[7, 7]]}, "reads its own output"),
        ({"edges": [[7]]}, "[7] is not [producer, consumer]"),
        ({"edges": [[7, 3], [3, 1], [1, "x"], ["x", 7]]}, "a cycle: "),
        ({"order": [7, 3, "x"]}, "node 1 is missing"),
        ({"order": [7, 3, "x", 1, 1]}, "node 1 occurs 2 times"),
        ({"order": [7, 3, "x", 1, 9]}, "there is no node 9"),
        ({"order": [1, 7, 3, "x"]}, "node 1 runs before node 3"),
        ({"order": [[7], 3, "x", 1]}, "[7] is no id"),
        ({"order": "7"}, "order: not a list"),
    ],
)
def test_wrong_graphs(change: str | dict[str, object], expected: str, tmp_path: Path) -> None:
    content = change if isinstance(change, str) else DIAMOND | change
    path = write(tmp_path / "g.json", content)
    error = failure(2, "E0201", "schedule", "--graph", path)
    said = [error["message"], *(f"{node['name']}: {node['reason']}" for node in error["nodes"])]
    assert any(expected in line for line in said), said


def test_a_cycle_is_shown_in_reading_order(tmp_path: Path) -> None:
    edges = [[1, 2], [2, 3], [3, 1], [3, 4], [0, 1]]
    graph = {"nodes": [[i, 1, 1] for i in range(5)], "edges": edges}
    error = failure(2, "E0201", "schedule", "--graph", write(tmp_path / "g.json", graph))
    (reason,) = (node["reason"] for node in error["nodes"])
    circle = [int(word) for word in reason.removeprefix("a cycle: ").split(" -> ")]
    assert circle[0] == circle[-1]
    assert len(circle) == 4
    assert all([a, b] in edges for a, b in pairwise(circle))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "nothing to schedule"),
        (["--buffers", "b.csv", "--graph", "g.json"], "only one thing"),
        (["--graph", "g.json", "--capacity", "3"], "--capacity"),
        (["--buffers", "b.csv", "--capacity", "-3"], "no number of bytes"),
        (["--buffers", "b.csv", "--capacity", "big"], "no number of bytes"),
        (["--graph", "g.json", "--time-limit", "0"], "no positive number"),
        (["--graph", "g.json", "--fixed-order"], "needs --budget"),
        (["--buffers", "b.csv", "--fixed-order", "--budget", "2"], "--budget: goes with --graph"),
        (["--graph", "g.json", "--budget", "0"], "no positive number"),
        (["--graph", "g.json", "--budget", "-1"], "no positive number"),
        (["--graph", "g.json", "--budget", "nan"], "no positive number"),
        (["--graph", "g.json", "--budget", "inf"], "no positive number"),
        (["--graph", "g.json", "--budget", "half"], "no positive number"),
        (["--graph", "g.json", "--threads", "0"], "no positive number"),
        (["--buffers", "nowhere.csv"], "cannot be read"),
        (["--graph", "nowhere.json"], "cannot be read"),
    ],
)
def test_usage(words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "b.csv", BUFFERS)
    write(tmp_path / "g.json", DIAMOND)
    failure(2, "E0201", "schedule", *words)
    assert expected in dnncc("schedule", *words).err


def test_binary_files_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00\x80")
    for option in ("--buffers", "--graph"):
        assert "is no text" in failure(2, "E0201", "schedule", option, tmp_path / "x")["message"]


def hard_graph() -> dict[str, object]:
    """No search closes it soon: 400 operators that read three of the 60 newest ones."""
    from random import Random

    rng = Random(1)
    edges = [
        [u, v] for v in range(1, 400) for u in sorted({rng.randrange(max(0, v - 60), v) for _ in range(3)})
    ]
    return {"nodes": [[v, rng.randint(50, 5000), rng.randint(1, 900)] for v in range(400)], "edges": edges}


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[ModuleType], None]]:
    """`ctrl_c(solver)`: Ctrl-C comes a second after the solver's `solve` was called."""

    def arm(solver: ModuleType) -> None:
        real = solver.solve

        def solve(*args: Any, **settings: Any) -> Any:
            signal.setitimer(signal.ITIMER_REAL, 1.0)
            return real(*args, **settings)

        monkeypatch.setattr(solver, "solve", solve)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_ctrl_c_keeps_the_best_answer(tmp_path: Path, ctrl_c: Callable[[ModuleType], None]) -> None:
    ctrl_c(order)
    path = write(tmp_path / "g.json", hard_graph())
    found = dnncc("schedule", "--graph", path, "--json", "--time-limit", "100")
    assert found.status == 0
    assert "best answer so far" in found.err
    document = found.document
    assert document["interrupted"] is True
    assert document["seconds"] < 50
    assert sorted(document["order"]) == list(range(400))
    assert document["bound"] < document["peak"] <= document["given_peak"]
    assert document["status"] == "feasible"


def test_ctrl_c_keeps_the_best_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ctrl_c(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recompute, "improve", ctrl_c)
    graph = hard_graph()
    path = write(tmp_path / "g.json", graph)
    words = ["--budget", "0.9", "--fixed-order", "--time-limit", "100"]
    found = dnncc("schedule", "--graph", path, *words, "--json")
    assert found.status == 0
    assert "best answer so far" in found.err
    document = found.document
    assert document["interrupted"] is True
    assert document["status"] == "feasible"
    assert 0 <= document["bound_percent"] < document["tdi_percent"]
    assert (document["peak"], document["duration"]) == replay(graph, document["sequence"])
    assert document["peak"] <= document["budget"]
