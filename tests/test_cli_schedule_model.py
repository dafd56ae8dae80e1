"""``dnncc schedule MODEL`` and ``--budget ram=``: the table, the pictures, the keys, and what is refused."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import dnncc as package
import numpy as np
import onnx
import pytest
from commandline import dnncc, failure
from onnx import helper
from onnx_models import floats, model


def u_net() -> onnx.ModelProto:
    """A small activation that waits for two large ones: running its convolution again saves it."""
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w0"], ["skip"], name="first", pads=[1, 1, 1, 1]),
        make("MaxPool", ["skip"], ["low"], name="down", kernel_shape=[2, 2], strides=[2, 2]),
        make("Conv", ["low", "w1"], ["wide"], name="widen", pads=[1, 1, 1, 1]),
        make("Conv", ["wide", "w2"], ["narrow"], name="narrow"),
        make("ConvTranspose", ["narrow", "w3"], ["up"], name="up", strides=[2, 2]),
        make("Add", ["up", "skip"], ["sum"], name="join"),
        make("GlobalAveragePool", ["sum"], ["y"], name="pool"),
    ]
    shapes = [(4, 2, 3, 3), (48, 4, 3, 3), (4, 48, 1, 1), (4, 4, 2, 2)]
    constants = {
        f"w{i}": floats(*s, seed=i) / np.float32(np.prod(s[1:]) ** 0.5) for i, s in enumerate(shapes)
    }
    return model(nodes, {"x": (1, 2, 12, 12)}, constants, ["y"])


@pytest.fixture(scope="module")
def proto(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "u_net.onnx"
    onnx.save(u_net(), path)
    return path


@pytest.fixture(scope="module")
def compared(proto: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    picture = tmp_path_factory.mktemp("picture") / "choices.svg"
    found = dnncc("schedule", proto, "--target", "stm32", "--optimize", "ram", "--picture", picture, "--json")
    assert found.status == 0, found.err
    return found.document, picture


def test_the_document(compared: tuple[dict[str, Any], Path]) -> None:
    document, _ = compared
    assert (document["target"], document["objective"], document["fits"]) == ("stm32f4", "ram", True)
    assert document["capacity_bytes"] == 131072 + 65536  # the RAM and the core-coupled memory
    assert document["budget_bytes"] is None
    keys = {
        "measure",
        "detail",
        "verdict",
        "reason",
        "arena_bytes",
        "bound_bytes",
        "fits",
        "added_macs",
        "added_percent",
        "copied_bytes",
        "effort",
        "seconds",
    }
    assert all(set(m) == keys for m in document["measures"])
    chosen = [m for m in document["measures"] if m["verdict"] == "chosen"]
    assert [m["measure"] for m in chosen] == [document["chosen"]]
    plain = next(m for m in document["measures"] if m["measure"] == "reorder")
    assert chosen[0]["arena_bytes"] < plain["arena_bytes"]
    assert 0 < chosen[0]["added_percent"] <= 25
    assert document["bound_bytes"] <= chosen[0]["arena_bytes"]
    assert any(p["best"] and p["arena_bytes"] == chosen[0]["arena_bytes"] for p in document["curve"])
    assert not any("external" in m["reason"] for m in document["measures"] if m["measure"] != "spill")


def test_the_picture(compared: tuple[dict[str, Any], Path]) -> None:
    document, picture = compared
    root = ElementTree.fromstring(picture.read_text())
    assert root.tag.endswith("svg")
    plans = [m for m in document["measures"] if m["arena_bytes"] is not None]
    tips = [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}title")]
    for plan in plans:
        assert any(t.startswith(f"{plan['measure']}: {plan['arena_bytes']:,} bytes") for t in tips)
    boxes = list(root.iter("{http://www.w3.org/2000/svg}rect"))
    assert len(boxes) == len(plans) + len(document["curve"])


def test_a_budget_decides_and_is_explained(proto: Path, tmp_path: Path) -> None:
    """Table, compile, manifest, report and Python agree."""
    plain = package.compile(str(proto), target="stm32").program.plan.arena_bytes
    budget = plain - 100
    words = (proto, "--target", "stm32", "--budget", f"ram={budget}")
    shown = dnncc("schedule", *words)
    assert shown.status == 0, shown.err
    assert f"RAM {budget:,} bytes, the budget; `dnncc compile` takes: " in shown.out
    assert "added work against RAM" in shown.out
    net = tmp_path / "net"
    document = dnncc("compile", *words, "-o", net, "--json").document
    plan = document["plan"]
    assert plan["peak_bytes"] <= budget == plan["budget_bytes"] == plan["capacity_bytes"]
    assert plan["objective"] == "balanced"
    (chosen,) = [m for m in plan["measures"] if m["verdict"] == "chosen"]
    assert f"takes: {chosen['measure']}" in shown.out
    assert chosen["arena_bytes"] == plan["peak_bytes"]
    assert "seconds" not in chosen
    assert "How this plan was chosen" in (net / "report.html").read_text()
    proof = dnncc("validate", net, "--on", "host", "--json").document
    assert proof["mismatches"] == 0
    found = package.schedule(str(proto), target="stm32", budget={"ram": budget})
    assert (found.chosen, found.fits) == (chosen["measure"], True)


def test_a_budget_below_the_bound_names_it_and_its_node(proto: Path, tmp_path: Path) -> None:
    words = (proto, "--target", "stm32", "--budget", "ram=1K")
    error = failure(3, "E0302", "compile", *words, "-o", tmp_path / "net")
    assert "within 1,024 bytes of RAM: at least " in error["message"]
    assert "because node 'widen' needs" in error["message"]
    assert error["nodes"][0]["name"] == "widen"
    measures = [n for n in error["nodes"] if n["name"].startswith("measure ")]
    assert {"measure 'reorder'", "measure 'recompute'", "measure 'spill'"} <= {n["name"] for n in measures}
    for way in ("patches", "smaller inputs", "writing over what it reads"):
        assert way in error["help"]
    assert not (tmp_path / "net").exists()
    compared = dnncc("schedule", *words, "--json")
    assert compared.status == 3
    document = compared.document
    assert (document["fits"], document["chosen"]) == (False, None)
    assert document["error"]["message"] == error["message"]
    assert f"at least {document['bound_bytes']:,} are needed" in error["message"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--budget", "ram"), "KIND=VALUE"),
        (("--budget", "ram=much"), "no number of bytes"),
        (("--budget", "size=0.5"), "goes with mixed weight bits"),
        (("--budget", "rom=1K"), "known budgets: ram"),
    ],
)
def test_budgets_that_are_none(proto: Path, words: tuple[str, str], expected: str) -> None:
    for command in ("compile", "schedule"):
        found = dnncc(command, proto, "--target", "stm32", *words)
        assert found.status == 2
        assert expected in found.err


def test_options_that_do_not_go_together(proto: Path, tmp_path: Path) -> None:
    assert "needs a board" in failure(2, "E0201", "schedule", proto)["message"]
    error = failure(2, "E0201", "schedule", proto, "--target", "stm32", "--capacity", "10", "--threads", "2")
    assert {n["name"] for n in error["nodes"]} == {"--capacity", "--threads"}
    failure(2, "E0201", "schedule", proto, "--target", "stm32", "--graph", tmp_path / "g.json")
    failure(2, "E0201", "schedule", proto, "--target", "stm32", "--picture", tmp_path / "p.png")
    failure(2, "E0201", "schedule", "--graph", tmp_path / "g.json", "--target", "stm32")
