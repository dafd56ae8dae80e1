"""Einsum as transposes, matrix products and sums."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Value
from dnncc.ops.expand import Expand
from dnncc.ops.matmul import Matmul
from dnncc.ops.reduce import ReduceSum
from dnncc.ops.slice import Slice

_ELLIPSIS = "0123456789"
"""Names of the axes that an ellipsis stands for, the last axis first, so that they broadcast as numpy does."""


@dataclass(frozen=True)
class _Term:
    """A tensor whose axes have names, each another."""

    value: Value
    axes: str

    def size(self, name: str) -> int:
        return self.value.type.shape[self.axes.index(name)]


@onnx_op("Einsum")
def import_einsum(g: Importer, node: OnnxNode) -> Value:
    """Operand by operand: what only one of two has is summed first, then their product is one of matrices."""
    terms, result = _parse(node)
    sizes: dict[str, int] = {}
    for term in terms:
        for name in term.axes:
            size = term.size(name)
            if sizes.setdefault(name, size) not in (size, 1) and size != 1:
                raise node.invalid(f"axis '{name}' has the sizes {sizes[name]} and {size}")
            sizes[name] = max(sizes[name], size)
    terms = [_diagonal(g, term) for term in terms]
    found = terms[0]
    for i, term in enumerate(terms[1:], 1):
        later = {name for other in terms[i + 1 :] for name in other.axes} | set(result)
        found = _product(
            g, _summed(g, found, {*term.axes, *later}), _summed(g, term, {*found.axes, *later}), later
        )
    found = _summed(g, found, set(result))
    missing = [name for name in result if name not in found.axes]
    if missing:
        raise node.invalid(f"axis '{missing[0]}' of the result is no operand's")
    value = g.transpose(found.value, [found.axes.index(name) for name in result])
    shape = tuple(sizes[name] for name in result)
    return value if value.type.shape == shape else g.emit(Expand(shape), [value])


def _parse(node: OnnxNode) -> tuple[list[_Term], str]:
    """The operands with their axes' names, and the names of the result's."""
    equation = node.string("equation").replace(" ", "")
    left, arrow, right = equation.partition("->")
    subscripts = left.split(",")
    part = r"[A-Za-z]*(\.\.\.)?[A-Za-z]*"
    if len(subscripts) != node.n_inputs or not all(re.fullmatch(part, s) for s in (*subscripts, right)):
        raise node.invalid(f"equation '{equation}' of {node.n_inputs} operands")
    terms = []
    for i, subscript in enumerate(subscripts):
        value = node.value(i)
        letters = subscript.replace("...", "")
        hidden = value.type.rank - len(letters)
        if hidden < 0 or (hidden and "..." not in subscript) or hidden > len(_ELLIPSIS):
            raise node.invalid(f"'{subscript}' for an operand {value.type}")
        terms.append(_Term(value, subscript.replace("...", _ELLIPSIS[:hidden][::-1])))
    widest = max((t.axes for t in terms), key=lambda axes: sum(c in _ELLIPSIS for c in axes))
    dots = "".join(c for c in widest if c in _ELLIPSIS)
    if arrow:
        result = right.replace("...", dots)
    else:
        letters = "".join(s.replace("...", "") for s in subscripts)
        result = dots + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if len(set(result)) != len(result):
        raise node.invalid(f"equation '{equation}' names an axis of the result twice")
    return terms, result


def _diagonal(g: Importer, term: _Term) -> _Term:
    """A name of two axes stands for their diagonal."""
    value, axes = term.value, term.axes
    for name in dict.fromkeys(axes):
        while axes.count(name) > 1:
            a, b = axes.index(name), axes.rindex(name)
            rest = [i for i in range(len(axes)) if i not in (a, b)]
            shape = value.type.shape
            n, kept = shape[a], tuple(shape[i] for i in rest)
            flat = g.reshape(g.transpose(value, (*rest, a, b)), (*kept, n * n))
            begin, step = (0,) * len(flat.type.shape), (*(1 for _ in kept), n + 1)
            value = g.emit(Slice(begin, flat.type.shape, step), [flat])
            axes = "".join(axes[i] for i in rest) + name
    return _Term(value, axes)


def _summed(g: Importer, term: _Term, kept: set[str]) -> _Term:
    """Without the axes that nobody else has."""
    gone = tuple(i for i, name in enumerate(term.axes) if name not in kept)
    if not gone:
        return term
    y = g.emit(ReduceSum(gone), [term.value])
    rest = [i for i in range(len(term.axes)) if i not in gone]
    return _Term(g.reshape(y, tuple(y.type.shape[i] for i in rest)), "".join(term.axes[i] for i in rest))


def _product(g: Importer, a: _Term, b: _Term, later: set[str]) -> _Term:
    """One product of two tensors, as batches of matrices; axes of size 1 broadcast."""
    both = [n for n in a.axes if n in b.axes]
    a, b = _stretched(g, a, b, both), _stretched(g, b, a, both)
    batch = [n for n in both if n in later]
    contracted = [n for n in both if n not in later]
    left = [n for n in a.axes if n not in both]
    right = [n for n in b.axes if n not in both]
    m, k, n = (
        math.prod(term.size(name) for name in names)
        for term, names in ((a, left), (a, contracted), (b, right))
    )
    outer = tuple(a.size(name) for name in batch)
    x = g.reshape(_ordered(g, a, [*batch, *left, *contracted]), (*outer, m, k))
    w = g.reshape(_ordered(g, b, [*batch, *contracted, *right]), (*outer, k, n))
    y = g.emit(Matmul(), [x, w])
    shape = (*outer, *(a.size(name) for name in left), *(b.size(name) for name in right))
    return _Term(g.reshape(y, shape), "".join([*batch, *left, *right]))


def _stretched(g: Importer, term: _Term, other: _Term, both: Sequence[str]) -> _Term:
    shape = tuple(max(term.size(n), other.size(n)) if n in both else term.size(n) for n in term.axes)
    return term if shape == term.value.type.shape else _Term(g.emit(Expand(shape), [term.value]), term.axes)


def _ordered(g: Importer, term: _Term, names: Sequence[str]) -> Value:
    return g.transpose(term.value, [term.axes.index(name) for name in names])
