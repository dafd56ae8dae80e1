"""Stages in parts, in both forms, of random networks of integers and of floats."""

from __future__ import annotations

from dataclasses import replace

from dnncc.ir.types import Array, TensorType
from dnncc.ops.patched import Patched
from dnncc.passes.pipeline import Pipeline, run_passes
from dnncc.patching import state_patches
from patch_networks import quantized, random_cnn

from op_samples.case import Case, floats, integers


def stages() -> list[Case]:
    found = []
    for seed, (form, grid) in enumerate(
        (("rows", (1, 1)), ("rows", (1, 2)), ("patches", (2, 2)), ("patches", (1, 2)))
    ):
        for is_integer in (True, False):
            graph = random_cnn(seed)
            if is_integer:
                graph = quantized(graph)
            else:
                run_passes("simplify", graph)
            sink = state_patches(graph, {}).candidates[-1].sink.name
            Pipeline.parse(f'patch{{form={form},grid={grid},to="{sink}"}}').run(graph)
            (node,) = graph.find("patched")
            assert isinstance(node.op, Patched)
            body = node.op.graph.clone()
            for value in (*body.inputs, *body.outputs):  # what a step stands for does not count
                value.type = replace(value.type, quantization=None)
            found.append(Case(replace(node.op, body=body), [_operand(v.type) for v in body.inputs]))
    return found


def _operand(type: TensorType) -> Array:
    return floats(*type.shape) if type.dtype.is_float else integers(type.dtype.numpy.name, *type.shape)


SAMPLES = {"patched": stages()}
