"""Finding and replacing patterns: the rewrite engine and the small questions that the passes ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array, DType, Quantization
from dnncc.ops.base import Op

ANY = "*"


class Rewriter:
    """A graph with its producers and readers at hand while rules edit it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.refresh()

    def refresh(self) -> None:
        """Drop dead nodes and look at the graph anew."""
        self.graph.prune()
        self._producers = self.graph.producers()
        self._users = self.graph.uses()
        self._outputs = set(self.graph.outputs)

    def producer(self, value: Value, *ops: str) -> Node | None:
        """The node that defines ``value``, if its operator is one of ``ops`` (any if none are given)."""
        node = self._producers.get(value)
        return node if node is not None and (not ops or node.op.name in ops) else None

    def sole_user(self, value: Value, *ops: str) -> Node | None:
        """The node that reads ``value`` if nothing else does, and if its operator is one of ``ops``."""
        users = self._users.get(value, [])
        if len(users) != 1 or value in self._outputs or (ops and users[0].op.name not in ops):
            return None
        return users[0]

    def sole_producer(self, value: Value, *ops: str) -> Node | None:
        """The node that defines ``value``, if ``value`` has but one reader."""
        return self.producer(value, *ops) if self.sole_user(value) is not None else None

    def insert(
        self, before: Node, op: Op, inputs: Sequence[Value], like: Value, name: str | None = None
    ) -> Value:
        """A new node right before ``before``, of its name unless given; its output is scaled as ``like``."""
        (type,) = op.infer(*(v.type for v in inputs))
        types = [replace(type, quantization=like.type.quantization)]
        return self.graph.insert_before(before, op, inputs, before.name if name is None else name, types)

    def move_behind(self, node: Node, op: Op, inputs: Sequence[Value], view: Op, name: str) -> None:
        """Replace ``node``, which is ``f(view(x))``, by ``view(op(inputs))``, which has the same value.

        Args:
            name: of the node that ``view`` becomes.
        """
        y = self.insert(node, op, inputs, node.output)
        z = self.insert(node, view, [y], node.output, name)
        self.replace(node.output, z)
        if node.output not in self._outputs:
            y.name, node.output.name = node.output.name, y.name

    def renewed(self, const: Const, data: Array, quantization: Quantization | None = None) -> Const:
        """A constant of other content in the place of ``const``, with its name if nothing else reads that.

        Args:
            quantization: of the new content; by default an integer's stays, and a float's is not known any more.
        """
        if quantization is None and const.type.dtype.is_integer:
            quantization = const.type.quantization
        free = len(self._users.get(const, [])) == 1 and const not in self._outputs
        return Const.of(const.name if free else self.graph.fresh(const.name), data, quantization)

    def replace(self, old: Value, new: Value) -> bool:
        """Let every reader of ``old`` read the equal value ``new``; an output of the graph keeps its name.

        Returns:
            False, and nothing is done, where an output of the graph would become one of its inputs or one of
            its other outputs, or where the two are scaled differently.
        """
        scales = {v.type.quantization for v in (old, new)} - {None}
        if len(scales) > 1:
            return False
        if old in self._outputs:
            if new in self._outputs or new in self.graph.inputs:
                return False
            if isinstance(new, Const):
                new = Const(self.graph.fresh(new.name), new.type, new.data)
            old.name, new.name = new.name, old.name
        new.type = replace(new.type, quantization=next(iter(scales), None))
        self.graph.replace_uses(old, new)
        return True


Rule = Callable[[Rewriter, Node], bool]


def rewrite(graph: Graph, rules: Mapping[str, Rule]) -> None:
    """Apply rules until none applies any more, node by node in execution order.

    Args:
        rules: operator name to rule; the rule under ``ANY`` is for all other operators. A rule says whether
            it changed the graph; it must bring the graph nearer to a form to which it does not apply.
    """
    rewriter = Rewriter(graph)
    changed = True
    while changed:
        changed = False
        for node in list(graph.nodes):
            rule = rules.get(node.op.name, rules.get(ANY))
            if rule is not None and node in graph.nodes and rule(rewriter, node):
                rewriter.refresh()
                changed = True


def constant_operand(node: Node) -> tuple[Value, Const] | None:
    """The operands of a binary node that combines one variable and one constant, in this order."""
    if len(node.inputs) != 2:
        return None
    constants = [v for v in node.inputs if isinstance(v, Const)]
    variables = [v for v in node.inputs if not isinstance(v, Const)]
    return (variables[0], constants[0]) if len(constants) == 1 else None


def non_negative(rewriter: Rewriter, value: Value) -> bool:
    """Whether ``value`` is certain to have no negative element."""
    if isinstance(value, Const):
        return bool(np.all(value.data >= 0))
    if value.type.dtype is DType.U8:
        return True
    node = rewriter.producer(value)
    if node is None:
        return False
    name = node.op.name
    if name in ("relu", "softmax"):
        return True
    if name in ("clip", "requantize"):
        lo = getattr(node.op, "lo", None)
        return lo is not None and lo >= 0
    if name in ("max_pool2d", "average_pool2d", "sum_pool2d", "concat", "transpose", "reshape", "pad", "add"):
        padding = getattr(node.op, "value", 0)
        return padding >= 0 and all(non_negative(rewriter, v) for v in node.inputs)
    return node.op.never_negative([non_negative(rewriter, v) for v in node.inputs])
