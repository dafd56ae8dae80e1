"""Models that are quantized already: against ONNX Runtime's unoptimised execution, in steps of each output."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from dnncc.frontends.onnx import load_onnx
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array
from dnncc.ir.verify import verify, verify_integer
from dnncc.passes.pipeline import run_passes
from dnncc.passes.quantize import QuantizeOptions, integer_arguments, proven, quantize
from quantized_models import cnn, inputs, mlp, quantized, unoptimised

runtime: Any = pytest.importorskip("onnxruntime.quantization")
QDQ, QOPERATOR = runtime.QuantFormat.QDQ, runtime.QuantFormat.QOperator
U8, S8, S16, U16 = (getattr(runtime.QuantType, n) for n in ("QUInt8", "QInt8", "QInt16", "QUInt16"))
NOTHING = "samples that must not matter"


def adopted(model: onnx.ModelProto, io: str = "int8") -> Graph:
    """The integer graph of a model that gives all its scales: calibration would fail on these samples."""
    graph = load_onnx(model)
    run_passes("simplify", graph)
    samples = {v.name: np.full((1, *v.type.shape), np.nan, np.float32) for v in graph.inputs}
    q = quantize(graph, samples, QuantizeOptions(io=io))
    verify(q)
    verify_integer(q)
    assert proven(q)
    return q


def steps_apart(model: onnx.ModelProto, q: Graph, samples: list[Array]) -> Array:
    """By how many steps each output value differs from ONNX Runtime's."""
    session = unoptimised(model)
    (name,) = [v.name for v in q.inputs]
    found = []
    for x in samples:
        ours = interpret(q, integer_arguments(q, {name: x}, 0))
        for value, y, real in zip(q.outputs, ours, session.run(None, {name: x}), strict=True):
            quantization = value.type.quantization
            assert quantization is not None
            theirs = np.rint(real / np.float64(value.type.scale)) + quantization.zero_point
            found.append((theirs - y).reshape(-1))
    return np.abs(np.concatenate(found))


FORMS = {
    "qdq-u8s8-channel": {"quant_format": QDQ, "activation_type": U8, "weight_type": S8, "per_channel": True},
    "qdq-s8s8-channel": {"quant_format": QDQ, "activation_type": S8, "weight_type": S8, "per_channel": True},
    "qdq-u8s8-tensor": {"quant_format": QDQ, "activation_type": U8, "weight_type": S8},
    "qdq-u8u8-tensor": {"quant_format": QDQ, "activation_type": U8, "weight_type": U8},
    "qdq-s8s8-symmetric": {
        "quant_format": QDQ,
        "activation_type": S8,
        "weight_type": S8,
        "extra_options": {"ActivationSymmetric": True},
    },
    "qop-s8s8-channel": {
        "quant_format": QOPERATOR,
        "activation_type": S8,
        "weight_type": S8,
        "per_channel": True,
    },
    # Without VNNI, ONNX Runtime's products of u8 and s8 saturate 16 bits unless weights have 7.
    "qop-u8s8-channel": {
        "quant_format": QOPERATOR,
        "activation_type": U8,
        "weight_type": S8,
        "per_channel": True,
        "reduce_range": True,
    },
    "qop-u8u8-tensor": {"quant_format": QOPERATOR, "activation_type": U8, "weight_type": U8},
    "qop-s8s8-symmetric": {
        "quant_format": QOPERATOR,
        "activation_type": S8,
        "weight_type": S8,
        "extra_options": {"ActivationSymmetric": True},
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_cnn(form: str) -> None:
    model = cnn()
    q_model = quantized(model, inputs(model, 8, 1), **FORMS[form])
    apart = steps_apart(q_model, adopted(q_model), inputs(model, 40, 2))
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 0.02


@pytest.mark.parametrize("form", FORMS)
def test_mlp(form: str) -> None:
    model = mlp()
    q_model = quantized(model, inputs(model, 8, 1), **FORMS[form])
    apart = steps_apart(q_model, adopted(q_model), inputs(model, 40, 2))
    assert apart.max() <= 1
    assert (apart > 0).mean() <= 0.05
