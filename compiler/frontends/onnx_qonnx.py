"""QONNX: quantization to any number of bits, as Brevitas and FINN write it."""

from __future__ import annotations

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array
from dnncc.ops.fake_bipolar import FakeBipolar
from dnncc.ops.fake_quantize import FakeQuantize
from dnncc.ops.fake_trunc import FakeTrunc
from dnncc.ops.moved import along_one_axis

QONNX, FINN, BREVITAS = "qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas"
_ROUNDINGS = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "ROUND_TO_ZERO": np.trunc,
    "DOWN": np.trunc,
}
_NEAREST = ("ROUND", "HALF_EVEN")
MAX_BITS = 16


def _number(node: OnnxNode, index: int, what: str) -> int:
    """An integer that the node gives as a tensor of one element."""
    given = node.array(index)
    if given.size != 1 or given.item() != round(given.item()):
        raise node.unsupported(f"a {what} that is not one integer")
    return int(given.item())


def _scale(node: OnnxNode, index: int) -> Array:
    scale = node.array(index)
    if scale.dtype != np.float32 or not ((scale > 0) & np.isfinite(scale)).all():
        raise node.unsupported("a scale that is not positive and finite")
    return scale


def _quant(g: Importer, node: OnnxNode) -> Value:
    x, scale = node.value(0), _scale(node, 1)
    zero, bits = _number(node, 2, "zero point"), _number(node, 3, "bit width")
    signed, narrow = bool(node.int("signed", 1)), bool(node.int("narrow", 0))
    mode = node.string("rounding_mode", "ROUND").upper()
    if not 1 <= bits <= MAX_BITS:
        raise node.unsupported(f"{bits} bits (supported: 1 to {MAX_BITS})")
    if mode not in _ROUNDINGS or (mode not in _NEAREST and not isinstance(x, Const)):
        raise node.unsupported(f"rounding mode '{mode}' (supported: ROUND; for constants CEIL, FLOOR too)")
    lo = -(1 << (bits - 1)) + narrow if signed else 0
    hi = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1 - narrow
    if isinstance(x, Const):
        return _constant(g, node, x, scale, np.clip(_ROUNDINGS[mode](_ratio(x, scale) + zero), lo, hi) - zero)
    if scale.size != 1:
        raise node.unsupported("a scale per channel of a tensor that is not constant (supported: per tensor)")
    if lo == hi:
        raise node.unsupported("a grid of one point")
    return g.emit(FakeQuantize(float(scale.item()), zero, lo, hi), [x])


def _ratio(x: Const, scale: Array) -> Array:
    ratio: Array = x.data / scale
    return ratio


def _constant(g: Importer, node: OnnxNode, x: Const, scale: Array, steps: Array) -> Value:
    """``scale * steps``, on scales that are known."""
    if np.broadcast_shapes(x.type.shape, scale.shape) != x.type.shape:
        raise node.invalid(f"scales {scale.shape} of {x.type}")
    known = along_one_axis(np.broadcast_to(scale.astype(np.float64), x.type.shape))
    return g.const("quantized", (steps * scale).astype(np.float32), known)


def _bipolar(g: Importer, node: OnnxNode) -> Value:
    x, scale = node.value(0), _scale(node, 1)
    if isinstance(x, Const):
        return _constant(g, node, x, scale, np.where(x.data >= 0, 1.0, -1.0))
    if scale.size != 1:
        raise node.unsupported("a scale per channel of a tensor that is not constant (supported: per tensor)")
    return g.emit(FakeBipolar(float(scale.item())), [x])


def _trunc(g: Importer, node: OnnxNode) -> Value:
    if node.n_inputs != 5:
        raise node.unsupported(
            "scales of the result (supported: x, scale, zero point, bits before and after)"
        )
    x, scale, zero = node.value(0), _scale(node, 1), _number(node, 2, "zero point")
    before, after = _number(node, 3, "bit width"), _number(node, 4, "bit width")
    mode = node.string("rounding_mode", "FLOOR").upper()
    signed = bool(node.int("signed", 1))
    node.ignore("narrow")
    if mode != "FLOOR" or zero or scale.size != 1:
        raise node.unsupported(f"rounding mode '{mode}', zero point {zero} (supported: FLOOR, 0, per tensor)")
    if not 1 <= after <= before <= 20 or before - after > MAX_BITS:
        raise node.unsupported(f"{after} of {before} bits (supported: up to 20, less by up to 16)")
    lo, hi = (-(1 << (before - 1)), (1 << (before - 1)) - 1) if signed else (0, (1 << before) - 1)
    if before == after:
        raise node.unsupported("no bit to drop")
    return g.emit(FakeTrunc(float(scale.item()), before - after, lo, hi), [x])


@onnx_op("Quant", "IntQuant", domain=QONNX)
def import_quant(g: Importer, node: OnnxNode) -> Value:
    return _quant(g, node)


@onnx_op("BipolarQuant", domain=QONNX)
def import_bipolar(g: Importer, node: OnnxNode) -> Value:
    return _bipolar(g, node)


@onnx_op("Trunc", domain=QONNX)
def import_trunc(g: Importer, node: OnnxNode) -> Value:
    return _trunc(g, node)


for _domain in (FINN, BREVITAS):
    onnx_op("Quant", "IntQuant", domain=_domain)(import_quant)
    onnx_op("BipolarQuant", domain=_domain)(import_bipolar)
    onnx_op("Trunc", domain=_domain)(import_trunc)
