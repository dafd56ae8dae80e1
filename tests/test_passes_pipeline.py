"""Pipelines: their strings, and what happens around a pass."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from dnncc.errors import InternalError, InvalidGraphError, OutputError, UsageError
from dnncc.ir.graph import Graph
from dnncc.ir.text import parse_graph, print_graph, read_ir
from dnncc.ir.types import DType
from dnncc.passes.base import PASSES, Pass, load_all
from dnncc.passes.pipeline import Pipeline, format_pass, run_passes

TEXT = """\
graph g(%x: f32[2]) {
  %a: f32[2] = relu(%x)
  %b: f32[2] = relu(%a)
  %unused: f32[2] = clip(%b) {hi=1.0}
  return %b
}"""


class Colour(enum.Enum):
    RED = "red"
    BLUE = "dark-blue"


@pytest.fixture
def own_passes(monkeypatch, tmp_path):
    """Takes the passes that a test defines out of the registry afterwards; reproducers go to tmp_path."""
    load_all()
    known = dict(PASSES)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    yield
    PASSES.clear()
    PASSES.update(known)


@pytest.fixture
def options(own_passes):
    @dataclass(frozen=True)
    class WithOptions(Pass):
        name: ClassVar[str] = "test-options"
        count: int = 8
        share: float = 0.5
        deep: bool = False
        observer: str = "min-max"
        method: Literal["fast", "slow"] = "fast"
        colour: Colour = Colour.RED
        dtype: DType = DType.I8
        bits: tuple[int, ...] = ()
        limit: int | None = None

        def __post_init__(self):
            if self.count < 1:
                raise ValueError("count must be positive")

    return WithOptions


def test_a_pipeline_comes_back(options):
    words = "deep=True,observer=mse,method=slow,colour=dark-blue,dtype=u8"
    text = f"fold-constants,test-options{{count=1}},dce,test-options{{share=2.0,{words},bits=(8, 4),limit=3}}"
    pipeline = Pipeline.parse(text)
    assert str(pipeline) == text
    step = pipeline.passes[3]
    assert step == options(8, 2.0, True, "mse", "slow", Colour.BLUE, DType.U8, (8, 4), 3)
    assert type(step.share) is float
    spaced = "  fold-constants ,\n test-options { count = 1 , }, dce, "
    assert str(Pipeline.parse(spaced)) == "fold-constants,test-options{count=1},dce"
    assert Pipeline.parse("") == Pipeline(())


@pytest.mark.parametrize("observer", ["percentile 99.9", "None", "a,b", "", 'say "x"', "ü", "1"])
def test_strings_that_are_no_words_are_quoted(options, observer):
    step = options(observer=observer)
    assert f'observer="{observer[:2]}'.rstrip("\\") in format_pass(step).replace('\\"', '"')
    assert Pipeline.parse(format_pass(step)).passes == (step,)


def test_defaults_are_left_out_but_may_be_given(options):
    assert str(Pipeline.parse("test-options{count=8,limit=None}")) == "test-options"
    assert Pipeline.parse('test-options{observer="min-max",share=1}').passes == (options(share=1.0),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fold-constant", "column 1: unknown pass 'fold-constant'; did you mean 'fold-constants'?"),
        ("dce,xyzzy", "column 5: unknown pass 'xyzzy'"),
        ("dce cse", "column 5: expected ',', found 'cse'"),
        ("dce,,cse", "column 5: expected a pass, found ','"),
        ("dce{", "column 5: expected the name of an option, found the end"),
        ("dce{x=1}", "column 5: 'dce' has no option 'x'"),
        ("test-options{cuont=1}", "'test-options' has no option 'cuont'; did you mean 'count'?"),
        ("test-options{count=1,count=2}", "column 22: option 'count' is given twice"),
        ("test-options{count=1.5}", "option 'count' of 'test-options': expected an integer, found 1.5"),
        ("test-options{count=True}", "expected an integer, found True"),
        ("test-options{share=lots}", "expected a number, found lots"),
        ("test-options{deep=1}", "expected True or False, found 1"),
        ("test-options{observer=3}", "expected a string, found 3"),
        ("test-options{method=medium}", "expected 'fast' or 'slow', found medium"),
        ("test-options{colour=green}", "expected red or dark-blue, found green"),
        ("test-options{bits=8}", "expected a tuple of (an integer), found 8"),
        ("test-options{limit=x}", "expected an integer or None, found x"),
        ("test-options{count=0}", "column 1: 'test-options': count must be positive"),
        ("dce;cse", "column 4: unexpected character ';'"),
    ],
)
def test_errors(options, text, message):
    with pytest.raises(UsageError) as caught:
        Pipeline.parse(text)
    assert message in caught.value.message
    assert caught.value.message.startswith(f"pipeline '{text}', ")


def test_two_passes_of_one_name(own_passes):
    with pytest.raises(ValueError, match=r"pass 'dce' is defined in dnncc\.passes\.dce and"):

        class Other(Pass):
            name: ClassVar[str] = "dce"


def test_every_pass_documents_itself():
    for name, cls in load_all().items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert cls.__doc__
        assert not cls.__doc__.startswith(f"{cls.__name__}("), f"{name} has only the docstring of dataclasses"


def test_statistics_and_dumps(tmp_path: Path):
    graph = parse_graph(TEXT)
    seen = []
    statistics = Pipeline.parse("merge-activations,dce,cse").run(
        graph, tmp_path / "new" / "dumps", lambda s, g: seen.append((s, len(g.nodes)))
    )
    assert [(s.text, s.nodes_before, s.nodes_after, s.changed) for s in statistics] == [
        ("merge-activations", 3, 1, True),
        ("dce", 1, 1, False),
        ("cse", 1, 1, False),
    ]
    assert all(s.seconds >= 0 for s in statistics)
    assert seen == [(s, 1) for s in statistics]
    folder = tmp_path / "new" / "dumps"
    assert sorted(p.name for p in folder.iterdir()) == [
        "00-input.ir",
        "01-merge-activations.ir",
        "02-dce.ir",
        "03-cse.ir",
    ]
    assert (folder / "00-input.ir").read_text() == TEXT + "\n"
    assert (folder / "03-cse.ir").read_text() == print_graph(graph) + "\n"


def test_a_pass_that_does_not_say_whether_it_changed_anything(own_passes):
    class Rename(Pass):
        name: ClassVar[str] = "test-rename"

        def run(self, graph: Graph) -> None:
            for node in graph.find("relu"):
                node.name = "r"

    graph = parse_graph(TEXT)
    assert run_passes("test-rename", graph)
    assert not run_passes("test-rename", graph)


def test_the_folder_for_dumps_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        Pipeline.parse("dce").run(parse_graph(TEXT), tmp_path / "file" / "dumps")


def test_a_graph_that_is_broken_to_begin_with():
    graph = parse_graph(TEXT)
    graph.nodes.reverse()
    with pytest.raises(InvalidGraphError):
        Pipeline.parse("dce").run(graph)


class _Trouble(Pass):
    """Removes a node that is still read, and then may raise."""

    error: ClassVar[BaseException | None] = None

    def run(self, graph: Graph) -> None:
        del graph.nodes[0]
        graph.outputs[0].name = "renamed"
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (None, "leaves a graph that is not well formed: "),
        (ValueError("oops"), "failed with ValueError: oops"),
        (KeyError("oops"), "failed with KeyError: 'oops'"),
        (InvalidGraphError("oops"), "leaves a graph that is not well formed: "),
    ],
)
def test_a_pass_with_a_bug(own_passes, tmp_path: Path, error, message):
    trouble = type("Trouble", (_Trouble,), {"name": "test-trouble", "error": error, "__module__": __name__})
    graph = parse_graph(TEXT)
    with pytest.raises(InternalError) as caught:
        Pipeline.parse("dce,test-trouble").run(graph)
    assert caught.value.message.startswith(f"pass 'test-trouble' {message}")
    # Left as the pass before left it, and kept in a file under the name that the message gives.
    expected = parse_graph(TEXT)
    run_passes("dce", expected)
    assert print_graph(graph) == print_graph(expected)
    (path,) = tmp_path.glob("dnncc-test-trouble-*.ir")
    assert str(path) in caught.value.help
    assert print_graph(read_ir(path)) == print_graph(expected)
    assert trouble.error is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UsageError("no data"), OSError("disk full")])
def test_what_is_no_bug_passes_through(own_passes, tmp_path: Path, error):
    type("Trouble", (_Trouble,), {"name": "test-trouble", "error": error, "__module__": __name__})
    graph = parse_graph(TEXT)
    with pytest.raises(type(error)):
        Pipeline.parse("test-trouble").run(graph)
    assert print_graph(graph) == TEXT
    assert not list(tmp_path.iterdir())


def test_a_reproducer_that_cannot_be_written(own_passes, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "missing"))
    type("Trouble", (_Trouble,), {"name": "test-trouble", "__module__": __name__})
    with pytest.raises(InternalError) as caught:
        Pipeline.parse("test-trouble").run(parse_graph(TEXT))
    assert "could not be kept" in caught.value.help
