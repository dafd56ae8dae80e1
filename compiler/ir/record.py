"""``{key=value, ...}`` in a text form: the fields of an operator or of a pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints

from dnncc.ir.literals import coerce
from dnncc.ir.scanner import Scanner, Token
from dnncc.runtime.suggest import did_you_mean

Record = TypeVar("Record")


def field_types(cls: type[Any]) -> dict[str, Any]:
    """A dataclass's fields and the types of their values."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def parse_record(
    scanner: Scanner, cls: type[Record], owner: Token, what: str, value: Callable[[], Any]
) -> Record:
    """An instance of the dataclass ``cls`` with the fields that ``{...}``, if it comes next, gives.

    Args:
        owner: the token that named ``cls``, for errors.
        what: what a field is called in errors ("attribute", "option").
        value: reads one value.
    """
    types = field_types(cls)
    found: dict[str, Any] = {}

    def field() -> None:
        key = scanner.take("word", f"the name of an {what}")
        if key.text not in types:
            scanner.fail(f"{owner} has no {what} {key}{did_you_mean(key.text, types)}", key)
        if key.text in found:
            scanner.fail(f"{what} {key} is given twice", key)
        scanner.expect("=")
        start = scanner.token
        try:
            found[key.text] = coerce(value(), types[key.text])
        except TypeError as error:
            scanner.fail(f"{what} {key} of {owner}: {error}", start)

    if scanner.accept("{"):
        scanner.list_of(field, "}")
    required = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    if missing := [name for name in required if name not in found]:
        scanner.fail(f"{owner} needs the {what} {', '.join(missing)}", owner)
    try:
        return cls(**found)
    except ValueError as error:
        scanner.fail(f"{owner}: {error}", owner)
