"""Every case of tests/ir/*.ir: what the pipeline makes of the graph, and that it means the same."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from dnncc.ir.text import parse_graph, print_graph
from dnncc.ir.verify import verify
from dnncc.passes.base import PASSES, load_all
from dnncc.passes.pipeline import Pipeline
from dnncc.passes.simplify import SIMPLIFY
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


def test_every_pass_of_simplify_has_cases():
    covered = {step.name for case in CASES for step in Pipeline.parse(case.pipeline).passes}
    assert covered >= {*SIMPLIFY.split(","), "simplify", "fuse"}


def test_the_pass_in_the_documentation(repository: Path, tmp_path: Path, monkeypatch):
    """docs/add-a-pass.md: its pass does to its graph what the text says."""
    text = (repository / "docs" / "add-a-pass.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(\"\"\".*?)```", text, re.DOTALL)
    case = re.search(r"^    // RUN: (.*?)\n(.*?)^    // EXPECT$", text, re.DOTALL | re.MULTILINE)
    assert code
    assert case
    load_all()
    known = dict(PASSES)
    try:
        (tmp_path / "documented_pass.py").write_text(code[1])
        monkeypatch.syspath_prepend(tmp_path)
        importlib.import_module("documented_pass")
        graph = parse_graph(case[2])
        before = graph.clone()
        Pipeline.parse(case[1]).run(graph)
    finally:
        PASSES.clear()
        PASSES.update(known)
    assert_same_meaning(before, graph)
    assert [node.name for node in graph.nodes] == ["a", "c"]
