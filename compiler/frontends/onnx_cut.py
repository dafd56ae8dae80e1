"""A part of an ONNX model: from chosen values to chosen values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dnncc.errors import Culprit, UnknownShapeError, UsageError
from dnncc.runtime.suggest import did_you_mean


def cut(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """The part of a ``ModelProto`` that computes ``outputs`` from ``inputs``.

    Args:
        inputs: values that become the model's inputs, or nodes, whose results do; none: the model's own. Of the
            model's own inputs those stay that the part still needs.
        outputs: values that become the model's outputs, or nodes, whose results do; none: the model's own.

    Returns:
        A model of its own; nodes that the part does not need are not in it.

    Raises:
        UsageError: with every name that the model does not have.
        UnknownShapeError: with every new input whose type the model does not tell.
    """
    from onnx import ModelProto, helper

    if not inputs and not outputs:
        return model
    part = ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    starts, ends = _values(graph, inputs, "inputs"), _values(graph, outputs, "outputs")
    infos = _infos(part, starts)
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name in starts:
                node.output[i] = f"{name}:cut"
    own = {v.name: v for v in graph.input}
    for name, info in infos.items():
        if name not in own:
            graph.input.append(info)
    if ends:
        known = {v.name: v for v in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
        del graph.output[:]
        graph.output.extend(known.get(name) or helper.make_empty_tensor_value_info(name) for name in ends)
    needed = _needed(graph, [v.name for v in graph.output])
    kept = [node for node in graph.node if any(name in needed for name in node.output)]
    del graph.node[:]
    graph.node.extend(kept)
    used = [v for v in graph.input if v.name in needed or v.name in starts]
    del graph.input[:]
    graph.input.extend(used)
    return part


def _values(graph: Any, names: Sequence[str], what: str) -> list[str]:
    """The values that names mean, in order, each once."""
    values = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    results: dict[str, list[str]] = {}
    for node in graph.node:
        values.update(name for name in node.output if name)
        if node.name:
            results[node.name] = [name for name in node.output if name]
    found: dict[str, None] = {}
    strangers = []
    for name in names:
        if name in values:
            found[name] = None
        elif name in results:
            found.update(dict.fromkeys(results[name]))
        else:
            known = [*sorted(values), *sorted(results)]
            strangers.append(
                Culprit(name, reason=f"is neither a value nor a node{did_you_mean(name, known)}")
            )
    if strangers:
        raise UsageError(
            f"the model cannot be cut at these {what}",
            strangers,
            help="`dnncc inspect MODEL` names the nodes; values are named in the ONNX file",
        )
    return list(found)


def _infos(model: Any, starts: Iterable[str]) -> dict[str, Any]:
    """The declarations of the values that become inputs."""
    from onnx import shape_inference

    if not starts:
        return {}
    graph = model.graph
    known = {
        v.name: v for v in (*graph.value_info, *graph.input, *graph.output) if v.type.HasField("tensor_type")
    }
    if any(name not in known for name in starts):
        try:
            # What comes after the starts may be anything.
            inferred = shape_inference.infer_shapes(cut(model, (), list(starts)), data_prop=True).graph
        except Exception:  # noqa: BLE001 - a model that onnx cannot follow tells nothing
            inferred = graph
        known = {v.name: v for v in (*inferred.value_info, *inferred.output)} | known
    missing = [n for n in starts if n not in known or not known[n].type.tensor_type.HasField("shape")]
    if missing:
        raise UnknownShapeError(
            "the shapes of the new inputs are unknown",
            [Culprit(name, reason="the model does not tell its type and shape") for name in missing],
            help="run onnx.shape_inference on the model first, or cut it elsewhere",
        )
    return {name: known[name] for name in starts}


def _needed(graph: Any, ends: Iterable[str]) -> set[str]:
    """Every value that the ends depend on, with themselves."""
    producers = {name: node for node in graph.node for name in node.output if name}
    found: set[str] = set()
    stack = list(ends)
    while stack:
        name = stack.pop()
        if name in found:
            continue
        found.add(name)
        if name in producers:
            node = producers[name]
            stack.extend(n for n in node.input if n)
            stack.extend(_captured(node))
    return found


def _captured(node: Any) -> Iterable[str]:
    """What the bodies of a node read, of the outer graph too."""
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                yield from (n for n in inner.input if n)
                yield from _captured(inner)
            yield from (v.name for v in body.output)
