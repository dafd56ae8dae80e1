"""The conformance suite of the onnx package: each case is right or cleanly refused, never wrong."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from pathlib import Path

import pytest
from conformance import Conformance, agrees, array, loaded, node_cases, stored_cases, verdict
from dnncc.errors import DnnccError

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
    assert sum(verdict(case) == "pass" for case in plain) >= 0.94 * len(plain)


@pytest.mark.heavy
@pytest.mark.parametrize("share", range(SHARES))
def test_generated_code_conforms(share: int, tmp_path: Path) -> None:
    """Every plain case that the interpreter passes, compiled in float32 for the host and run there."""
    import dnncc
    from dnncc.runtime.bundle import Bundle
    from dnncc.runtime.runner import open_runner

    failures = {}
    for case in node_cases()[share::SHARES]:
        form = loaded(case) if case.is_plain else ""
        if isinstance(form, str):
            continue
        folder = tmp_path / case.name
        try:
            dnncc.compile(form.graph, target="host-c", dtype="float32", output=folder)
            runner = open_runner(Bundle.open(folder), "host", None, None, "-O1")
            if not agrees(case, runner.run(form.arguments)):
                failures[case.name] = "wrong"
        except DnnccError as error:
            failures[case.name] = str(error)
    assert failures == {}
