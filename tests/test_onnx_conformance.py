"""The conformance suite of the onnx package: each case is right or cleanly refused, never wrong."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from pathlib import Path

import pytest
from conformance import Conformance, agrees, array, loaded, node_cases, prepared, stored_cases, verdict
from dnncc.errors import DnnccError, UnsupportedError
from dnncc.frontends.onnx import load_onnx, supported_op_types

SHARES = 8
"""The cases in generated code are tested in as many parts, so that workers can divide them."""


def tally(cases: Iterable[Conformance]) -> dict[str, list[str]]:
    """The names of the cases of supported operator types, by verdict; the others must be unsupported."""
    supported = set(supported_op_types())
    found: dict[str, list[str]] = collections.defaultdict(list)
    for case in cases:
        if any(value is None or isinstance(value, list) or array(value).size == 0 for value in case.inputs):
            continue  # sequences, optional values, tensors without elements
        if case.op_types <= supported:
            found[verdict(case)].append(case.name)
        else:
            proto, _ = prepared(case, len(case.inputs))
            with pytest.raises(UnsupportedError):
                load_onnx(proto)
    return found


@pytest.mark.parametrize(
    ("kind", "at_least"), [("node", 204), ("simple", 5), ("pytorch-operator", 17), ("pytorch-converted", 33)]
)
def test_conformance(kind: str, at_least: int) -> None:
    found = tally(node_cases() if kind == "node" else stored_cases(kind))
    assert found["wrong"] == []
    assert set(found) <= {"pass", "wrong", "E0101"}
    assert len(found["pass"]) >= at_least


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
