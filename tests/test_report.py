"""report.html: self-contained, safe against what models name, and true to the plan."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import dnncc
import numpy as np
import pytest
from conftest import Example
from dnncc.benchmark import Benchmark, NodeCost
from dnncc.driver import Compilation
from dnncc.report import ReportData, from_compilation, render
from dnncc.report.data import Block, Machine, Measured, PassRow, Port, Rescaling, Scale, StepRow, Sum, Totals
from dnncc.report.layout import layered
from dnncc.report.text import shorten, size
from hypothesis import given
from hypothesis import strategies as st

HOSTILE = """<script>alert('x')</script>"&amp;' ]]>\x00\u202e\ud800 --> </style></svg></title>$model"""
VOID = {"meta", "br", "hr", "img", "input", "link"}
WITHOUT_END = {"path", "rect", "line"}  # of SVG, written <rect/>


class Page(HTMLParser):
    """A page's elements, its text, and whether every element is closed where it must be."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in WITHOUT_END
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str, kind: str = "") -> list[dict[str, str | None]]:
        """The attributes of every element with that name, and class if one is given."""
        return [
            a for t, a in self.elements if t == tag and (not kind or kind in (a.get("class") or "").split())
        ]

    @property
    def text(self) -> str:
        """What a reader sees, white space collapsed."""
        return " ".join("".join(data for tag, data in self.texts if tag != "style").split())


def example(name: str = "stem") -> ReportData:
    """Three kernels: a, and b that reads a, and c that reads both; every kind of row is there."""
    steps = (
        StepRow(name, ("conv2d", "requantize"), "gemm-2x2", "u8", (1, 4, 4, 8), 900, 80, (-1,), (), 31.24),
        StepRow("b", ("max_pool2d",), "generic", "u8", (1, 2, 2, 8), 0, 0, (0,), (), float("inf")),
        StepRow("c", ("linear",), "gemv-1x4", "i8", (1, 10), 100, 40, (0, 1), (0,)),
    )
    blocks = (
        Block(name, False, "u8 1×4×4×8", 0, 128, 0, 3),
        Block("b", False, "u8 1×2×2×8", 128, 32, 1, 3),
        Block(name, True, "", 128, 64, 0, 1),
    )
    machine = Machine("board", "A board", "cortex-m4", 168_000_000, "ram", 131072, 1 << 20)
    ports = (
        Port("input", "image", "i8", (1, 4, 4, 1), 16, 0.5, 3),
        Port("output", "logits", "i8", (1, 10), 10, 0.25, 0),
    )
    return ReportData(
        model="model",
        name="net",
        version="1.2.3",
        model_hash="ab" * 32,
        machine=machine,
        dtype="int8",
        calibrated=True,
        options=(("target", "board"),),
        pipeline="simplify,quantize",
        warnings=("a warning",),
        arena_bytes=192,
        bound_bytes=160,
        optimal=False,
        weights_bytes=120,
        ports=ports,
        blocks=blocks,
        steps=steps,
        scales=(Scale(name, "u8", (1, 4, 4, 8), 0.125, 0.0, 31.875),),
        rescalings=(Rescaling(name, 5, 7, 8, 32, 0, 255, "half_up"),),
        sums=(Sum(name, "conv2d", -1000, 1000, 11), Sum("c", "linear", None, None, None)),
        passes=(PassRow("simplify", 9, 3, True),),
        sqnr_samples=2,
    )


def test_is_well_formed_and_loads_nothing() -> None:
    html = render(example())
    page = Page(html)
    assert page.of("script") == []
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "src", "xlink:href"):
                assert value is not None
                assert value.startswith("#"), (tag, name, value)
    assert re.findall(r"https?:|@import|url\((?!#arrow\))", html) == []
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for link in page.of("a"):
        assert (link["href"] or "").removeprefix("#") in ids


def test_is_accessible() -> None:
    page = Page(render(example()))
    assert page.of("html")[0]["lang"] == "en"
    assert len(page.of("h1")) == 1
    for table_part in ("caption", "thead"):
        assert len(page.of(table_part)) == len(page.of("table"))
    assert all(th.get("scope") in ("col", "row") for th in page.of("th"))
    ids = {a["id"] for _, a in page.elements if "id" in a}
    for svg in page.of("svg"):
        assert svg["role"]
        assert set((svg["aria-labelledby"] or "").split()) <= ids


def test_hostile_names_are_text() -> None:
    data = example(HOSTILE)
    data = replace(
        data,
        model=HOSTILE,
        pipeline=HOSTILE,
        warnings=(HOSTILE,),
        options=((HOSTILE, HOSTILE),),
        ports=tuple(replace(p, name=HOSTILE) for p in data.ports),
        passes=(PassRow(HOSTILE, 1, 1, False),),
        machine=replace(data.machine, name=HOSTILE, description=HOSTILE),
    )
    html = render(data)
    html.encode("utf-8")
    page, plain = Page(html), Page(render(example()))
    # The names change no element; a shortened one gets a span with the whole.
    assert [t for t, _ in page.elements if t != "span"] == [t for t, _ in plain.elements if t != "span"]
    assert "\x00" not in html
    assert "\u202e" not in html
    shown = HOSTILE.replace("\x00", "\\u0000").replace("\u202e", "\\u202e").replace("\ud800", "\\ud800")
    assert shown in page.text


def test_bytes_in_use_count_shared_bytes_once() -> None:
    data = example()
    rng = np.random.default_rng(0)
    for _ in range(50):
        blocks = []
        for i in range(rng.integers(1, 8)):
            first, offset = int(rng.integers(0, 3)), int(rng.integers(0, 60))
            end, length = int(rng.integers(first + 1, 4)), int(rng.integers(1, 40))
            blocks.append(Block(str(i), False, "", offset, length, first, end))
        taken = np.zeros((3, 100), bool)
        for b in blocks:
            taken[b.first : b.end, b.offset : b.offset + b.size] = True
        case = replace(data, blocks=tuple(blocks), arena_bytes=100)
        assert case.in_use == tuple(taken.sum(axis=1))
        assert case.peak == int(taken.sum(axis=1).argmax())


def test_memory_map_is_to_scale() -> None:
    data = example()
    html = render(data)
    svg = html[html.index('<svg class="map"') :].partition("</svg>")[0]
    page = Page(svg + "</svg>")
    rects = [r for r in page.of("rect") if r.get("class") != "peak"]
    assert len(rects) == len(data.blocks)
    boxes = [tuple(float(r[k] or 0) for k in ("x", "y", "width", "height")) for r in rects]
    (ax, ay, aw, ah), (bx, by, bw, bh), (sx, sy, sw, sh) = boxes
    assert ah / bh == pytest.approx(128 / 32, abs=0.05)
    assert ah / sh == pytest.approx(128 / 64, abs=0.05)
    assert aw / sw == pytest.approx(3, rel=0.02)
    assert bw / sw == pytest.approx(2, rel=0.02)
    assert by + bh == pytest.approx(ay, abs=0.2)  # b begins where a ends
    assert sy + sh == pytest.approx(ay, abs=0.2)
    assert ax == sx
    assert bx > ax
    # Step 1 holds 128 + 64 bytes, the others 128 + 32.
    assert data.peak == 0
    assert "peak: step 1, stem, 192 bytes in use" in page.text
    assert "lower bound: 160 bytes" in page.text


def test_figures_are_there() -> None:
    text = Page(render(example())).text
    assert "1,000 MACs" in text
    assert "1 of 2 sums proven not to overflow" in text
    assert "Some sums are not proven to fit 32 bits." in text
    assert "0.5 × (integer − 3)" in text
    assert "31.2" in text
    assert "exact" in text
    assert "a warning" in text
    assert "Instructions" not in text


def test_measured_values_are_shown_where_given() -> None:
    data = example()
    steps = tuple(replace(s, measured=Measured(1000 * i + 17, 2222)) for i, s in enumerate(data.steps))
    totals = Totals("emulator", "cortex-m4", "zig -O2", 3051, 1_680_000, None, 9000, 200, 128)
    text = Page(render(replace(data, steps=steps, totals=totals))).text
    assert "1,017" in text
    assert "2,222" in text
    assert "10.00 ms" in text  # 1,680,000 cycles at 168 MHz
    assert "3.05" in text  # instructions per MAC


def test_without_arena_and_in_floats() -> None:
    data = replace(example(), arena_bytes=0, bound_bytes=0, optimal=True, blocks=())
    assert data.peak is None
    assert "needs no arena" in Page(render(data)).text
    data = replace(data, dtype="float32", calibrated=None, scales=(), rescalings=(), sums=())
    text = Page(render(data)).text
    assert "32-bit floating point" in text
    assert "Calibration" not in text.partition("Words")[0].partition("Working memory")[0]


@given(st.integers(1, 12), st.data())
def test_layout_is_a_layered_drawing(nodes: int, data: st.DataObject) -> None:
    pairs = [(a, b) for b in range(nodes) for a in range(b)]
    edges = data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    drawing = layered(nodes, edges)
    for (a, b), route in zip(edges, drawing.routes, strict=True):
        assert route[0] == drawing.positions[a]
        assert route[-1] == drawing.positions[b]
        assert [layer for _, layer in route] == list(range(route[0][1], route[-1][1] + 1))
    rows: dict[int, list[float]] = {}
    for x, layer in {*drawing.positions, *(p for route in drawing.routes for p in route)}:
        rows.setdefault(layer, []).append(x)
    # Nodes and the edges that pass between them keep their distance.
    for row in rows.values():
        assert np.diff(sorted(row)).min(initial=1.0) >= 1 - 1e-9
    assert min(x for row in rows.values() for x in row) == pytest.approx(0)
    assert len(set(drawing.positions)) == nodes


def test_layout_of_a_chain_is_straight() -> None:
    drawing = layered(5, [(0, 1), (1, 2), (2, 3), (3, 4)])
    assert drawing.positions == tuple((0.0, i) for i in range(5))


def test_shorten() -> None:
    assert shorten("short", 5) == "short"
    assert shorten("model/block/conv/BiasAdd", 14) == "…/conv/BiasAdd"
    assert shorten("model/act/Relu;model/bn/Fused;model/conv", 16) == "model/act/Relu;…"
    assert shorten("abcdefghij", 5) == "ab…ij"
    for text in ("x" * 50, "a/" * 30, "a;" * 30, ";" * 50, "/" * 50):
        for length in range(5, 40):
            assert len(shorten(text, length)) <= length


def test_sizes() -> None:
    assert size(9999) == "9,999 bytes"
    assert size(131072) == "128 KiB"
    assert size(None) == "no limit"


@pytest.fixture(scope="module")
def compilation(digits: Example) -> Compilation:
    return dnncc.compile(digits.model, target="stm32f4", calibrate=digits.calibration)


def test_of_a_compilation(compilation: Compilation) -> None:
    data = from_compilation(compilation)
    plan = compilation.program.plan
    assert data.arena_bytes == plan.arena_bytes
    assert max(data.in_use) <= plan.arena_bytes
    assert data.macs == compilation.graph.macs()
    assert sum(s.weights_bytes for s in data.steps) >= data.weights_bytes
    assert {s.results for s in data.steps if s.results} == {(0,)}
    assert all(s.sqnr is not None and s.sqnr > 20 for s in data.steps)
    assert all(s.proven for s in data.sums)
    assert [s.scale for s in data.scales if s.name == compilation.graph.inputs[0].name] == [
        compilation.graph.inputs[0].type.scale
    ]
    html = render(data)
    assert html == render(from_compilation(compilation))
    text = Page(html).text
    for step in compilation.program.steps:
        assert step.node.name in text
    assert f"{plan.arena_bytes:,} bytes" in text


def test_of_a_measured_compilation(compilation: Compilation) -> None:
    nodes = tuple(NodeCost(s.node.name, "conv2d", s.node.macs, 4321, 8765) for s in compilation.program.steps)
    bench = Benchmark(
        "emulator", "cortex-m4", "zig", "-O2", 12345, 23456, None, 30000, 100, 2816, 256, 347392, nodes
    )
    text = Page(render(from_compilation(compilation, bench))).text
    assert "4,321" in text
    assert "12,345" in text
    with pytest.raises(ValueError, match="not this network"):
        from_compilation(compilation, replace(bench, nodes=nodes[1:]))
