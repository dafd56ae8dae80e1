"""The wiring of an ONNX graph: every name defined once, no cycles, the nodes in execution order."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from dnncc.errors import Culprit, InvalidGraphError


def texts(model: Any) -> Iterator[str]:
    """Every name and other text in a ``ModelProto`` that the import reads, as protobuf gives it."""
    yield from (opset.domain for opset in model.opset_import)
    yield from _graph_texts(model.graph)


def _graph_texts(graph: Any) -> Iterator[str]:
    yield graph.name
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)
    yield from (tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name, attribute.t.name)
            for entry in attribute.t.external_data:
                yield from (entry.key, entry.value)
            if attribute.HasField("g"):
                yield from _graph_texts(attribute.g)


def reads(node: Any) -> list[str]:
    """The names that a ``NodeProto`` reads, also those that its bodies find in the graphs around them."""
    found = list(node.input)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            body = attribute.g
            own = {v.name for v in body.input} | {t.name for t in body.initializer}
            own |= {name for inner in body.node for name in inner.output}
            inside = [name for inner in body.node for name in reads(inner)]
            inside += [value.name for value in body.output]
            found += [name for name in inside if name and name not in own]
    return found


def declared_shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """The shapes that a ``GraphProto`` declares for values other than inputs, where they are numbers."""
    found = {}
    for value in (*graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and all(dim.WhichOneof("value") == "dim_value" for dim in dims):
            found[value.name] = tuple(int(dim.dim_value) for dim in dims)
    return found


def node_names(nodes: Sequence[Any]) -> list[str]:
    """A name of its own for each ``NodeProto``: the model's if it has one, else type and position."""
    taken = {node.name for node in nodes}
    names: list[str] = []
    used: set[str] = set()
    for i, node in enumerate(nodes):
        base = node.name or f"{node.op_type}_{i}"
        name, count = base, 0
        while name in used or (name != node.name and name in taken):
            count += 1
            name = f"{base}_{count}"
        used.add(name)
        names.append(name)
    return names


def execution_order(graph: Any, names: Sequence[str], around: Collection[str] = ()) -> list[int]:
    """Positions of the nodes that the outputs depend on, each after those that define its operands.

    The model's own order is kept where it is one.

    Args:
        graph: the ``GraphProto``.
        names: what errors call the nodes.
        around: what the graphs around this one define.

    Raises:
        InvalidGraphError: with every name that is defined twice or not at all, or the nodes that form cycles.
    """
    nodes = graph.node
    problems = [*_duplicates(graph), *_dangling(graph, names, around)]
    if problems:
        raise InvalidGraphError("the model's graph is not well formed", problems)
    producer = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    needs = [{producer[name] for name in reads(node) if name in producer} for node in nodes]
    order = _sorted(needs)
    if len(order) < len(nodes):
        cyclic = _cyclic(needs, set(range(len(nodes))) - set(order))
        raise InvalidGraphError(
            "the model's graph has a cycle", [Culprit(names[i], nodes[i].op_type) for i in cyclic]
        )
    live = {producer[value.name] for value in graph.output if value.name in producer}
    for i in reversed(order):
        if i in live:
            live |= needs[i]
    return [i for i in order if i in live]


def _duplicates(graph: Any) -> list[Culprit]:
    groups = {
        "inputs": [value.name for value in graph.input],
        "outputs": [value.name for value in graph.output],
        "initializers": [t.name for t in graph.initializer]
        + [t.values.name for t in graph.sparse_initializer],
    }
    problems = [
        Culprit(name, reason=f"is {count} times among the {group}")
        for group, listed in groups.items()
        for name, count in Counter(listed).items()
        if count > 1
    ]
    problems += [Culprit(group, reason="one has no name") for group, listed in groups.items() if "" in listed]
    made = Counter(name for node in graph.node for name in node.output if name)
    given = {*groups["inputs"], *groups["initializers"]}
    problems += [
        Culprit(name, reason=f"is defined {count + (name in given)} times")
        for name, count in made.items()
        if count > 1 or name in given
    ]
    return problems


def _dangling(graph: Any, names: Sequence[str], around: Collection[str]) -> list[Culprit]:
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    known |= {name for node in graph.node for name in node.output} | {""}
    known |= set(around)
    problems = [
        Culprit(names[i], node.op_type, f"reads '{name}', which nothing defines")
        for i, node in enumerate(graph.node)
        for name in reads(node)
        if name not in known
    ]
    problems += [
        Culprit(value.name, reason="is an output, but nothing defines it")
        for value in graph.output
        if value.name not in known
    ]
    if not graph.output:
        problems.append(Culprit(graph.name or "graph", reason="has no outputs"))
    return problems


def _sorted(needs: Sequence[set[int]]) -> list[int]:
    """Kahn's algorithm, taking the earliest node that is ready; nodes in or behind a cycle are left out."""
    users: list[list[int]] = [[] for _ in needs]
    missing = [len(sources) for sources in needs]
    for i, sources in enumerate(needs):
        for source in sources:
            users[source].append(i)
    ready = [i for i, count in enumerate(missing) if not count]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for user in users[i]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, user)
    return order


def _cyclic(needs: Sequence[set[int]], left: set[int]) -> list[int]:
    """Of the nodes in or behind cycles, those that others of them need: without the ones merely behind."""
    while True:
        needed = {source for i in left for source in needs[i]}
        if left <= needed:
            return sorted(left)
        left = left & needed
