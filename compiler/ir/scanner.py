"""The scanner beneath the text forms: tokens with their places, and literals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from dnncc.errors import DnnccError
from dnncc.ir.literals import CONSTANTS, Word

_TOKEN = re.compile(
    r"""
    (?P<space>(?:\s+|//[^\n]*)+)
  | (?P<value>%(?:[A-Za-z0-9_][A-Za-z0-9_.]*|"(?:[^"\\\n]|\\.)*"))
  | (?P<digest>@[0-9a-f]{16}(?![0-9a-f]))
  | (?P<bits>0x[0-9a-f]+)
  | (?P<number>-?(?:inf\b|nan\b|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?))
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<word>[A-Za-z_][A-Za-z0-9_.-]*)
  | (?P<sign>[(){}\[\],:=@])
  | (?P<end>\Z)
    """,
    re.VERBOSE,
)

ErrorFactory = Callable[[str, int, int], DnnccError]


class Token(NamedTuple):
    """One token: its kind (a group's name above), its text and where it starts."""

    kind: str
    text: str
    offset: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"'{self.text}'"


class Scanner:
    """Reads a text token by token.

    Args:
        text: the whole text.
        error: makes the exception to raise from a message, a line and a column (both counted from 1).
    """

    def __init__(self, text: str, error: ErrorFactory) -> None:
        self.text = text
        self._error = error
        self._position = 0
        self.token = self._scan()

    def fail(self, message: str, token: Token | None = None) -> NoReturn:
        """Raise the error for ``token`` (the next one unless given)."""
        self._fail_at(message, (token or self.token).offset)

    def _fail_at(self, message: str, offset: int) -> NoReturn:
        line = self.text.count("\n", 0, offset) + 1
        raise self._error(message, line, offset - self.text.rfind("\n", 0, offset))

    def _scan(self) -> Token:
        while True:
            start = self._position
            match = _TOKEN.match(self.text, start)
            if match is None or match.lastgroup is None:
                self._fail_at(f"unexpected character {self.text[start]!r}", start)
            self._position = match.end()
            if match.lastgroup != "space":
                return Token(match.lastgroup, match.group(), start)

    def next(self) -> Token:
        """Take the next token."""
        token, self.token = self.token, self._scan() if self.token.kind != "end" else self.token
        return token

    def at(self, text: str) -> bool:
        """Whether the next token is this sign or word."""
        return self.token.text == text and self.token.kind in ("sign", "word")

    def accept(self, text: str) -> bool:
        """Take the next token if it is this sign or word."""
        if self.at(text):
            self.next()
            return True
        return False

    def expect(self, text: str) -> Token:
        """Take this sign or word; anything else is an error."""
        if not self.at(text):
            self.fail(f"expected '{text}', found {self.token}")
        return self.next()

    def take(self, kind: str, wanted: str) -> Token:
        """Take a token of this kind; ``wanted`` says in words what it stands for."""
        if self.token.kind != kind:
            self.fail(f"expected {wanted}, found {self.token}")
        return self.next()

    def list_of(self, item: Callable[[], object], closing: str) -> None:
        """Parse ``item {, item} closing`` or just ``closing``; a comma before ``closing`` is allowed."""
        while not self.accept(closing):
            item()
            if not self.at(closing) and not self.accept(","):
                self.fail(f"expected ',' or '{closing}', found {self.token}")

    def integer(self, wanted: str) -> int:
        token = self.take("number", wanted)
        try:
            return int(token.text)
        except ValueError:
            self.fail(f"expected {wanted}, found {token}", token)

    def name(self, wanted: str) -> str:
        """A bare word or a quoted string."""
        if self.token.kind == "string":
            return self._unquote(self.next())
        return self.take("word", wanted).text

    def value_name(self) -> str:
        """The name of a value, without the ``%``."""
        token = self.take("value", "a value such as %x")
        if token.text.startswith('%"'):
            return self._unquote(token._replace(text=token.text[1:]))
        return token.text[1:]

    def _unquote(self, token: Token) -> str:
        try:
            return str(json.loads(token.text))
        except ValueError as error:
            self.fail(f"{token} is not a string literal: {error}", token)

    def literal(self) -> Any:
        """A number, a string, a constant such as None, a tuple, or any other word as a ``Word``."""
        token = self.token
        if token.kind == "string":
            return self._unquote(self.next())
        if token.kind == "number":
            self.next()
            return float(token.text) if re.search(r"[.eEn]", token.text) else int(token.text)
        if token.kind == "word":
            self.next()
            return CONSTANTS[token.text] if token.text in CONSTANTS else Word(token.text)
        if self.accept("("):
            items: list[Any] = []
            self.list_of(lambda: items.append(self.literal()), ")")
            return tuple(items)
        return self.fail(f"expected a value, found {token}")
