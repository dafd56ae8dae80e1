"""The conformance suite of the onnx package: each case is right or cleanly refused, never wrong."""

from __future__ import annotations

import collections
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from dnncc.errors import DnnccError, UnsupportedError
from dnncc.frontends.onnx import OLDEST_OPSET, load_onnx, supported_op_types
from dnncc.interpreter import interpret
from dnncc.ir.types import Array
from onnx import helper, numpy_helper, version_converter
from onnx.backend.test.loader import load_model_tests

FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}
# Results of arithmetic in 16 bits, which dnncc does in 32.
ROUGH = {np.dtype(np.float16): 2e-3}


@dataclass(frozen=True)
class Conformance:
    """One case of the suite."""

    name: str
    model: onnx.ModelProto
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    rtol: float


def node_cases() -> Iterator[Conformance]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite itself divides by zero
        for case in load_model_tests(kind="node"):
            inputs, outputs = case.data_sets[0]
            yield Conformance(case.name, case.model, inputs, outputs, case.rtol)


def stored_cases(kind: str) -> Iterator[Conformance]:
    for case in sorted(load_model_tests(kind=kind), key=lambda c: str(c.name)):
        folder = Path(case.model_dir)
        data = folder / "test_data_set_0"
        inputs, outputs = (
            [onnx.load_tensor(data / f"{group}_{i}.pb") for i in range(len(list(data.glob(f"{group}_*"))))]
            for group in ("input", "output")
        )
        yield Conformance(case.name, onnx.load(folder / "model.onnx"), inputs, outputs, case.rtol)


def array(value: Any) -> Array:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def single(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def prepared(case: Conformance, data_inputs: int) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The case's model with all but its first float inputs as constants, as trained models have them.

    Outputs of other types are cast to float, so that what is calculated on import can be compared as well.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    if any(o.domain == "" and o.version < OLDEST_OPSET for o in proto.opset_import):
        proto = version_converter.convert_version(proto, 13)
    graph = proto.graph
    feeds: dict[str, Array] = {}
    constants = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name in constants]
    given_inputs = [value for value in graph.input if value.name not in constants]
    for value, given in zip(given_inputs, case.inputs, strict=True):
        is_data = value.type.tensor_type.elem_type in FLOATS and len(feeds) < data_inputs
        if is_data or value.type.WhichOneof("value") != "tensor_type":
            kept.append(value)
            if value.type.WhichOneof("value") == "tensor_type":
                feeds[value.name] = single(array(given))
        else:
            graph.initializer.append(numpy_helper.from_array(array(given), value.name))
    del graph.input[:]
    graph.input.extend(kept)
    for value in graph.output:
        if value.type.tensor_type.elem_type not in FLOATS:
            graph.node.append(helper.make_node("Cast", [value.name], [f"{value.name}_f"], to=1))
            value.CopyFrom(helper.make_tensor_value_info(f"{value.name}_f", onnx.TensorProto.FLOAT, None))
    return proto, feeds


def verdict(case: Conformance) -> str:
    """ "pass", "wrong", or the code of the error that refuses it in every form."""
    code = ""
    for data_inputs in (len(case.inputs), 1, 0):
        proto, feeds = prepared(case, data_inputs)
        try:
            graph = load_onnx(proto)
        except DnnccError as error:
            code = error.code
            continue
        found = interpret(graph, [feeds[v.name] for v in graph.inputs])
        for ours, value in zip(found, case.outputs, strict=True):
            theirs = array(value)
            rtol = ROUGH.get(theirs.dtype, case.rtol)
            theirs = single(theirs)
            if ours.shape != theirs.shape or not np.allclose(
                ours, theirs, rtol, max(1e-6, rtol * 1e-2), equal_nan=True
            ):
                return "wrong"
        return "pass"
    return code


def tally(cases: Iterator[Conformance]) -> dict[str, list[str]]:
    """The names of the cases of supported operator types, by verdict; the others must be unsupported."""
    supported = set(supported_op_types())
    found: dict[str, list[str]] = collections.defaultdict(list)
    for case in cases:
        if any(value is None or isinstance(value, list) or array(value).size == 0 for value in case.inputs):
            continue  # sequences, optional values, tensors without elements
        if {node.op_type for node in case.model.graph.node} <= supported:
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
