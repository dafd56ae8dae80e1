"""The conformance suite of the onnx package: each case is right or cleanly refused, never wrong."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from conformance import Conformance, array, node_cases, stored_cases, verdict

from benchmarks import conformance as benchmark

REPOSITORY = Path(__file__).resolve().parent.parent

SHARES = 8
"""The cases in generated code are tested in as many parts, so that workers can divide them."""


def tally(cases: Iterable[Conformance]) -> dict[str, list[str]]:
    """The names of the cases by verdict."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    for case in cases:
        if any(value is None or isinstance(value, list) or array(value).size == 0 for value in case.inputs):
            continue  # sequences, optional values, tensors without elements
        found[verdict(case)].append(case.name)
    return found


@pytest.mark.parametrize(
    ("kind", "at_least"), [("node", 1480), ("simple", 8), ("pytorch-operator", 29), ("pytorch-converted", 57)]
)
def test_conformance(kind: str, at_least: int) -> None:
    found = tally(node_cases() if kind == "node" else stored_cases(kind))
    assert found["wrong"] == []
    assert all(kind == "pass" or kind.startswith("E01") for kind in found if found[kind])
    assert len(found["pass"]) >= at_least


def test_share_of_the_plain_cases() -> None:
    """Float32, integers and booleans of known shapes."""
    plain = [case for case in node_cases() if case.is_plain]
    assert sum(verdict(case) == "pass" for case in plain) >= 0.944 * len(plain)


def examined(indices: Iterable[int]) -> list[str]:
    """The cases that do not pass as C, of those that the interpreter passes."""
    rows = [benchmark.examined(i, code=True) for i in indices]
    return [f"{r.case}: {r.code} {r.reason}" for r in rows if r.interpreter == "pass" and r.code != "pass"]


def test_some_generated_code_conforms() -> None:
    """A case of every sixtieth; `python -m benchmarks.conformance --code` does all, for docs/conformance.md."""
    plain = sum(case.is_plain for case in node_cases())
    assert examined(range(7, plain, 60)) == []


@pytest.mark.heavy
@pytest.mark.parametrize("share", range(SHARES))
def test_generated_code_conforms(share: int) -> None:
    """Every plain case that the interpreter passes, compiled in float32 for the host and run there."""
    plain = sum(case.is_plain for case in node_cases())
    assert examined(range(share, plain, SHARES)) == []


def test_the_page_is_current() -> None:
    """docs/conformance.md has the figures of the interpreter and of refusals as they are."""
    text = (REPOSITORY / "docs" / "conformance.md").read_text(encoding="utf-8")
    table = re.findall(
        r"^\| (\S.*?) \| (\d[\d,]*) \| (\d[\d,]*) \| (\d[\d,]*) \| \d+ \|$", text, re.MULTILINE
    )
    shown = {name: tuple(int(n.replace(",", "")) for n in numbers) for name, *numbers in table}
    found: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    for case in (c for c in node_cases() if c.is_plain):
        own = found[benchmark.subject(case)]
        own[0] += 1
        own[1] += verdict(case) == "pass"
    assert {name: (cases, passed, passed) for name, (cases, passed) in found.items()} == {
        name: numbers for name, numbers in shown.items() if "*" not in name
    }
