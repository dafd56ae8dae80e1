"""The static shapes of a model's inputs: symbols become numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dnncc.errors import Culprit, UnknownShapeError, UsageError


def input_shapes(inputs: Sequence[Any], dims: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The shape of each model input by name.

    A dimension that is not fixed goes by its symbol, or by ``INPUT.AXIS`` if it has none. If it is the first
    of an input it is the batch and becomes 1, as does every other dimension of the same symbol, unless
    ``dims`` says otherwise. Fixed dimensions stay, a fixed batch included.

    Args:
        inputs: the ``ValueInfoProto`` of tensors.
        dims: values of symbols.

    Raises:
        UsageError: ``dims`` has a name that the model does not, or a value below 1.
        UnknownShapeError: with every input whose shape stays unknown.
    """
    specs = {value.name: _spec(value) for value in inputs}
    symbols = {d for spec in specs.values() if spec is not None for d in spec if isinstance(d, str)}
    _check_names(dims, symbols)
    batch = {spec[0] for spec in specs.values() if spec}
    known = {symbol: dims.get(symbol, 1 if symbol in batch else 0) for symbol in symbols}
    shapes: dict[str, tuple[int, ...]] = {}
    culprits = []
    for name, spec in specs.items():
        if spec is None:
            culprits.append(Culprit(name, reason="has no shape, not even a number of dimensions"))
            continue
        shapes[name] = tuple(d if isinstance(d, int) else known[d] for d in spec)
        unknown = [
            f"dimension {axis} ({d})" for axis, d in enumerate(spec) if isinstance(d, str) and not known[d]
        ]
        if unknown:
            culprits.append(Culprit(name, reason=f"{', '.join(unknown)} unknown"))
    if culprits:
        missing = sorted(symbol for symbol, value in known.items() if not value)
        options = " ".join(f"--dim {symbol}=VALUE" for symbol in missing)
        raise UnknownShapeError(
            "dimensions of the model's inputs are unknown",
            culprits,
            help=f"give them with {options}" if options else "export the model with the shapes of its inputs",
        )
    return shapes


def _spec(value: Any) -> tuple[int | str, ...] | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    spec: list[int | str] = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        # Exporters write 0 or -1 for "unknown" too; a tensor without elements makes no sense as an input.
        spec.append(dim.dim_value if dim.dim_value > 0 else dim.dim_param or f"{value.name}.{axis}")
    return tuple(spec)


def _check_names(dims: Mapping[str, int], symbols: Iterable[str]) -> None:
    known = ", ".join(sorted(symbols)) or "none"
    strangers = [name for name in dims if name not in set(symbols)]
    if strangers:
        raise UsageError(
            "the model has no such dimension",
            [Culprit(name, reason="unknown") for name in strangers],
            help=f"its symbolic dimensions: {known}",
        )
    wrong = [Culprit(name, reason=f"{value} is no size") for name, value in dims.items() if value < 1]
    if wrong:
        raise UsageError("a dimension must be at least 1", wrong)
