"""Borders of windows without a test per element: what padding cannot change is skipped, by the bounds of loops.

``sum = sum + (inside ? x : 0)`` becomes ``if (inside) sum = sum + x``, and a loop around a condition on its variable
becomes a loop over the range in which the condition holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dnncc.targets.lowering.c_expressions import call_name, mentions
from tvm import ir, tirx
from tvm.ir import Range
from tvm.sym import Analyzer
from tvm_ffi import structural_equal


def skip_padding(statement: Any, analyzer: Any = None) -> Any:
    """The same statement, lowered and flat, with fewer tests."""
    analyzer = analyzer or Analyzer()
    if isinstance(statement, tirx.SeqStmt):
        return _sequence([skip_padding(s, analyzer) for s in statement.seq])
    if isinstance(statement, tirx.IfThenElse):
        otherwise = statement.else_case
        return tirx.IfThenElse(
            statement.condition,
            skip_padding(statement.then_case, analyzer),
            None if otherwise is None else skip_padding(otherwise, analyzer),
        )
    if isinstance(statement, tirx.BufferStore):
        return _guarded(statement)
    if isinstance(statement, tirx.For):
        analyzer.bind(statement.loop_var, Range.from_min_extent(statement.min, statement.extent))
        return _trimmed(statement, skip_padding(statement.body, analyzer), analyzer)
    return statement


def _sequence(statements: Sequence[Any]) -> Any:
    """Statements in a row; neighbours under the same condition share it."""
    merged: list[Any] = []
    for one in statements:
        last: Any = merged[-1] if merged else None
        if _is_plain_if(last) and _is_plain_if(one) and structural_equal(last.condition, one.condition):
            merged[-1] = tirx.IfThenElse(last.condition, tirx.stmt_seq(last.then_case, one.then_case), None)
        else:
            merged.append(one)
    return tirx.stmt_seq(*merged)


def _is_plain_if(statement: Any) -> bool:
    return isinstance(statement, tirx.IfThenElse) and statement.else_case is None


def _guarded(store: Any) -> Any:
    """A store that leaves its element as it is unless a condition holds, under that condition."""
    value = store.value
    if not isinstance(value, tirx.Add | tirx.Max) or not _is_target(value.a, store):
        return store
    neutral = 0.0 if isinstance(value, tirx.Add) else float(tirx.min_value(str(value.ty.dtype)).value)
    found = _split(value.b, neutral)
    if found is None:
        return store
    condition, operand = found
    return tirx.IfThenElse(
        condition, tirx.BufferStore(store.buffer, type(value)(value.a, operand), store.indices), None
    )


def _is_target(value: Any, store: Any) -> bool:
    return (
        isinstance(value, ir.TensorLoad)
        and value.source.same_as(store.buffer)
        and structural_equal(value.indices, store.indices)
    )


def _split(value: Any, neutral: float) -> tuple[Any, Any] | None:
    """(condition, v): ``value`` is v where the condition holds, and ``neutral`` where it does not."""
    if isinstance(value, ir.Call) and call_name(value) == "if_then_else":
        condition, inside, outside = value.args
        constant = isinstance(outside, tirx.IntImm | tirx.FloatImm) and float(outside.value) == neutral
        return (condition, inside) if constant else None
    if neutral == 0 and isinstance(value, tirx.Cast):
        found = _split(value.value, neutral)
        return found and (found[0], tirx.Cast(str(value.ty.dtype), found[1]))
    if neutral == 0 and isinstance(value, tirx.Mul):
        found = _split(value.a, neutral)
        return found and (found[0], tirx.Mul(found[1], value.b))
    return None


def _trimmed(loop: Any, body: Any, analyzer: Any) -> Any:
    """The loop around a new body: its conditions become bounds, or go outside, where they can."""
    first, end = loop.min, loop.min + loop.extent
    outside, inside = [], []
    if _is_plain_if(body):
        for condition in _conjuncts(body.condition):
            bounds = _bounds(condition, loop.loop_var, analyzer)
            if not mentions(condition, loop.loop_var):
                outside.append(condition)
            elif bounds is None:
                inside.append(condition)
            else:
                first = first if bounds[0] is None else tirx.max(first, bounds[0])
                end = end if bounds[1] is None else tirx.min(end, bounds[1])
        body = _under(inside, body.then_case)
    first, end = analyzer.simplify(first), analyzer.simplify(end)
    extent = analyzer.simplify(end - first)
    trimmed = tirx.For(loop.loop_var, first, extent, loop.kind, body, loop.thread_binding, loop.annotations)
    return _under(outside, trimmed)


def _under(conditions: Sequence[Any], statement: Any) -> Any:
    return tirx.IfThenElse(tirx.all(*conditions), statement, None) if conditions else statement


def _conjuncts(condition: Any) -> Iterator[Any]:
    if isinstance(condition, tirx.And):
        yield from _conjuncts(condition.a)
        yield from _conjuncts(condition.b)
    else:
        yield condition


def _bounds(condition: Any, var: Any, analyzer: Any) -> tuple[Any, Any] | None:
    """(first, end) with ``first <= var < end`` exactly where the condition holds, one of them None; or None."""
    strict = isinstance(condition, tirx.LT | tirx.GT)
    if isinstance(condition, tirx.LT | tirx.LE):
        small, large = condition.a, condition.b
    elif isinstance(condition, tirx.GT | tirx.GE):
        small, large = condition.b, condition.a
    else:
        return None
    # factor * term + rest >= 0, where term is the variable or its quotient by a constant.
    factor, term, rest = 0, None, -int(strict)
    for sign, part in _terms(analyzer.simplify(large - small), 1):
        if not mentions(part, var):
            rest = rest + sign * part
        elif term is None:
            factor, term = sign, part
        else:
            return None
    divisor: Any = 1
    if isinstance(term, tirx.FloorDiv) and isinstance(term.b, tirx.IntImm):
        term, divisor = term.a, int(term.b)
    if term is None or not term.same_as(var):
        return None
    if factor > 0:
        return analyzer.simplify(-tirx.floordiv(rest, factor) * divisor), None
    return None, analyzer.simplify((tirx.floordiv(rest, -factor) + 1) * divisor)


def _terms(e: Any, sign: int) -> Iterator[tuple[int, Any]]:
    """The sum's terms, each with a constant factor."""
    if isinstance(e, tirx.Add | tirx.Sub):
        yield from _terms(e.a, sign)
        yield from _terms(e.b, sign if isinstance(e, tirx.Add) else -sign)
    elif isinstance(e, tirx.Mul) and isinstance(e.b, tirx.IntImm):
        yield from _terms(e.a, sign * int(e.b))
    else:
        yield sign, e
