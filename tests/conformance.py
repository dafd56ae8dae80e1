"""The conformance suite of the onnx package, case by case, in the interpreter and in generated C."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from dnncc.errors import DnnccError
from dnncc.frontends.onnx import OLDEST_OPSET, load_onnx
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array
from onnx import numpy_helper, version_converter
from onnx.backend.test.loader import load_model_tests

T = onnx.TensorProto
FLOATS = {T.FLOAT, T.DOUBLE, T.FLOAT16}
PLAIN = {T.FLOAT, T.BOOL, T.INT8, T.INT16, T.INT32, T.INT64, T.UINT8, T.UINT16, T.UINT32, T.UINT64}
"""The types of which every case counts: float32, integers and booleans."""

# Results of arithmetic in 16 bits, which dnncc does in 32.
ROUGH = {T.FLOAT16: 2e-3, T.BFLOAT16: 2e-2}


@dataclass(frozen=True)
class Conformance:
    """One case of the suite."""

    name: str
    model: onnx.ModelProto
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    rtol: float

    @property
    def op_types(self) -> set[str]:
        """What the case is about."""
        return {node.op_type for node in self.model.graph.node}

    @property
    def is_plain(self) -> bool:
        """Whether all its inputs and outputs are tensors of the types that count, of known shapes, with elements."""
        values = [*self.model.graph.input, *self.model.graph.output]
        kinds = [v.type.tensor_type.elem_type for v in values if v.type.WhichOneof("value") == "tensor_type"]
        if len(kinds) != len(values) or not set(kinds) <= PLAIN:
            return False
        return all(a is not None and not isinstance(a, list) for a in (*self.inputs, *self.outputs)) and all(
            array(a).size for a in (*self.inputs, *self.outputs)
        )


@cache
def node_cases() -> tuple[Conformance, ...]:
    """The cases of single operators, and of the functions that the standard expands some operators to."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the suite itself divides by zero
        for case in load_model_tests(kind="node"):
            inputs, outputs = case.data_sets[0]
            found.append(Conformance(case.name, case.model, inputs, outputs, case.rtol))
    return tuple(found)


def stored_cases(kind: str) -> Iterator[Conformance]:
    """The cases that lie in the package as files."""
    for case in sorted(load_model_tests(kind=kind), key=lambda c: str(c.name)):
        folder = Path(case.model_dir)
        data = folder / "test_data_set_0"
        inputs, outputs = (
            [onnx.load_tensor(data / f"{group}_{i}.pb") for i in range(len(list(data.glob(f"{group}_*"))))]
            for group in ("input", "output")
        )
        yield Conformance(case.name, onnx.load(folder / "model.onnx"), inputs, outputs, case.rtol)


def array(value: Any) -> Array:
    found = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    return found.astype(np.float32) if found.dtype.name == "bfloat16" else found


def prepared(case: Conformance, run_time: int) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The case's model with all but its first ``run_time`` inputs as constants, as trained models have them.

    Returns:
        The model, and what to feed it.
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
        is_tensor = value.type.WhichOneof("value") == "tensor_type" and not isinstance(given, list)
        if len(feeds) < run_time or not is_tensor or given is None:
            kept.append(value)
            if is_tensor and given is not None:
                feeds[value.name] = array(given)
        else:
            graph.initializer.append(numpy_helper.from_array(array(given), value.name))
    del graph.input[:]
    graph.input.extend(kept)
    return proto, feeds


@dataclass(frozen=True)
class Loaded:
    """A case in a form that dnncc takes."""

    graph: Graph
    feeds: Mapping[str, Array]

    @property
    def arguments(self) -> list[Array]:
        with np.errstate(over="ignore"):
            return [
                np.asarray(self.feeds[v.name]).astype(v.type.dtype.numpy, copy=False)
                for v in self.graph.inputs
            ]


def loaded(case: Conformance) -> Loaded | DnnccError:
    """The case with as many inputs at run time as dnncc takes, or the error that refuses it with none."""
    for run_time in (len(case.inputs), 1, 0):
        proto, feeds = prepared(case, run_time)
        try:
            return Loaded(load_onnx(proto), feeds)
        except DnnccError as error:
            refused = error
    return refused


def agrees(case: Conformance, found: Sequence[Array]) -> bool:
    """Whether results are the case's, within its own tolerance; integers and booleans exactly."""
    declared = [v.type.tensor_type.elem_type for v in case.model.graph.output]
    for ours, value, kind in zip(found, case.outputs, declared, strict=True):
        theirs = array(value)
        rtol = ROUGH.get(kind, case.rtol)
        is_float = theirs.dtype.kind == "f" or kind in ROUGH
        if ours.shape != theirs.shape or (ours.dtype.kind == "f") != is_float:
            return False
        with np.errstate(over="ignore"):
            theirs = theirs.astype(ours.dtype, copy=False)
        if not np.allclose(ours, theirs, rtol, max(1e-6, rtol * 1e-2), equal_nan=True):
            return False
    return True


def verdict(case: Conformance) -> str:
    """ "pass", "wrong", or the code of the error that refuses it in every form."""
    found = loaded(case)
    if isinstance(found, DnnccError):
        return found.code
    return "pass" if agrees(case, interpret(found.graph, found.arguments)) else "wrong"
