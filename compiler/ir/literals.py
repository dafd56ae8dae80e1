"""Literals of the text form: how values of attributes and options print, and fit their field's type."""

from __future__ import annotations

import json
import math
import re
import types
import typing
from enum import Enum
from typing import Any

import numpy as np
from dnncc.ir.types import DType

BARE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
CONSTANTS: dict[str, Any] = {"True": True, "False": False, "None": None, "nan": math.nan, "inf": math.inf}


class Word(str):
    """A bare word as parsed: an enumeration's member, an element type or, in a pipeline, a string."""

    __slots__ = ()


def quote(text: str) -> str:
    """``text`` as a string literal on one line."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def format_literal(value: object, bare_strings: bool = False) -> str:
    """The text of a value; ``parse(format_literal(v)) == v`` once coerced to its field's type.

    Args:
        value: None, bool, int, float, str, an enumeration's member with a string value, or a tuple of these.
        bare_strings: print strings that look like a word without quotes (pipelines, for the sake of shells).

    Raises:
        TypeError: a value of another type, which the text form cannot carry.
    """
    if value is None or isinstance(value, bool | int | float):
        if isinstance(value, np.generic):
            raise TypeError(f"numpy scalar {value!r} in an attribute: convert it to a Python number")
        return repr(value)
    if isinstance(value, Enum) and isinstance(value.value, str) and BARE_NAME.fullmatch(value.value):
        return value.value
    if isinstance(value, str):
        bare = bare_strings and BARE_NAME.fullmatch(value) and value not in CONSTANTS
        return str(value) if bare else quote(value)
    if isinstance(value, tuple):
        items = [format_literal(v, bare_strings) for v in value]
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    raise TypeError(f"{value!r} has no text form")


def describe(annotation: Any) -> str:
    """A field's type in words, for error messages."""
    if annotation is type(None):
        return "None"
    if annotation is DType:
        return "an element type (" + ", ".join(t.value for t in DType) + ")"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(a) for a in arguments)
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple and arguments[-1:] == (Ellipsis,):
        return f"a tuple of ({describe(arguments[0])})"
    if origin is tuple:
        return f"a tuple ({', '.join(map(describe, arguments))})"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(str(m.value) for m in annotation)
    words = {bool: "True or False", int: "an integer", float: "a number", str: "a string"}
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))


def coerce(value: Any, annotation: Any) -> Any:
    """``value`` as parsed, as a value of the type ``annotation``; TypeError says what was expected.

    An integer serves as a float, a bare word as a string or as the enumeration's member with that value.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        for choice in arguments:
            try:
                return coerce(value, choice)
            except TypeError:
                continue
    elif origin is typing.Literal:
        for choice in arguments:
            if choice == value and isinstance(value, type(choice)):
                return choice
    elif origin is tuple and isinstance(value, tuple):
        kinds = arguments[:1] * len(value) if arguments[-1:] == (Ellipsis,) else arguments
        if len(kinds) == len(value):
            return tuple(coerce(v, kind) for v, kind in zip(value, kinds, strict=True))
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        for member in annotation:
            if isinstance(value, Word) and member.value == value:
                return member
    elif annotation is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif annotation is str and isinstance(value, str):
        return str(value)
    elif isinstance(annotation, type) and type(value) is annotation:
        return value
    shown = value if isinstance(value, Word) else repr(value)
    raise TypeError(f"expected {describe(annotation)}, found {shown}")
