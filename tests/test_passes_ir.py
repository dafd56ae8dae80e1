"""Every case of tests/ir/*.ir: what the pipeline makes of the graph, and that it means the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from dnncc.ir.text import parse_graph, print_graph
from dnncc.ir.verify import verify
from dnncc.passes.base import load_all
from dnncc.passes.pipeline import Pipeline
from ir_cases import assert_same_meaning, read_cases, write_cases

FOLDER = Path(__file__).parent / "ir"
CASES = [case for path in sorted(FOLDER.glob("*.ir")) for case in read_cases(path)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case, request):
    graph = parse_graph(case.source, source=str(case))
    verify(graph)
    before = graph.clone()
    pipeline = Pipeline.parse(case.pipeline)
    pipeline.run(graph)
    found = print_graph(graph, inline=None)
    assert print_graph(parse_graph(found), inline=None) == found
    for seed in range(3):
        assert_same_meaning(before, graph, seed)
    again = parse_graph(found)
    pipeline.run(again)
    assert print_graph(again, inline=None) == found, "running it again changes the graph again"
    if request.config.getoption("--bless"):
        cases = read_cases(case.path)
        cases[case.index] = replace(cases[case.index], expected=found)
        write_cases(case.path, cases)
    else:
        assert found == case.expected


def test_every_simplification_has_cases():
    covered = {step.name for case in CASES for step in Pipeline.parse(case.pipeline).passes}
    here = {name for name, cls in load_all().items() if cls.__module__.count(".") == 2}
    assert covered >= here - {"quantize"}
