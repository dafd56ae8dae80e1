"""Pipelines: passes in a row, as a string and as something that runs, checks, counts and dumps."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from dnncc.errors import DnnccError, InternalError, InvalidGraphError, OutputError, UsageError
from dnncc.ir.graph import Graph
from dnncc.ir.literals import format_literal
from dnncc.ir.record import parse_record
from dnncc.ir.scanner import Scanner
from dnncc.ir.text import write_ir
from dnncc.ir.verify import verify
from dnncc.passes.base import Pass, Surroundings, load_all
from dnncc.runtime.suggest import did_you_mean

# What a bug in a pass may raise; everything else (a DnnccError, Ctrl-C, no memory) is passed on as it is.
_BUGS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class PassStatistics:
    """What one run of one pass did.

    Attributes:
        text: the pass with its options and what it chose, as in the pipeline string.
        nodes_before, nodes_after: the graph's number of nodes.
        seconds: time spent in the pass, without verifying and dumping.
        changed: whether the graph is another one than before.
    """

    text: str
    nodes_before: int
    nodes_after: int
    seconds: float
    changed: bool


Observer = Callable[[PassStatistics, Graph], None]


@dataclass(frozen=True)
class Pipeline:
    """Passes to be run one after the other; ``str()`` gives the string that ``parse`` reads."""

    passes: tuple[Pass, ...]

    @staticmethod
    def parse(text: str) -> Pipeline:
        """Read ``"fold-constants,quantize{weights=4}"``.

        Options are the pass's fields: integers, numbers, True and False, words or quoted strings, tuples.

        Raises:
            UsageError: an unknown pass or option, with the nearest known one; a syntax error, with its place.
        """
        return Pipeline(tuple(_Parser(text).passes()))

    def bind(self, surroundings: Surroundings) -> Pipeline:
        """The same pipeline, in which every pass has what it wants of the surroundings."""
        return Pipeline(tuple(p.bind(surroundings) for p in self.passes))

    def resolved(self) -> Pipeline:
        """After a run: the pipeline that does the same again, with every choice as an option."""
        return Pipeline(tuple(p.resolved() for p in self.passes))

    def __str__(self) -> str:
        return ",".join(format_pass(p) for p in self.passes)

    def run(
        self, graph: Graph, dump_dir: Path | str | None = None, observe: Observer | None = None
    ) -> list[PassStatistics]:
        """Run every pass on ``graph``, in place, and verify the graph before the first one and after each.

        Args:
            dump_dir: a folder (made if need be) that gets the graph as text: ``00-input.ir``, then after each
                pass ``01-PASS.ir`` and so on.
            observe: called after each pass.

        Raises:
            InternalError: a pass failed or left a graph that is not well formed; the message names a file
                with the graph before that pass.
            InvalidGraphError: ``graph`` is not well formed to begin with.

        Whatever is raised, Ctrl-C included, ``graph`` is left as the last complete pass left it.
        """
        verify(graph)
        folder = _folder(dump_dir)
        if folder is not None:
            write_ir(graph, folder / "00-input.ir")
        statistics = []
        for i, step in enumerate(self.passes, 1):
            statistics.append(_run_one(step, graph))
            if folder is not None:
                write_ir(graph, folder / f"{i:02}-{step.name}.ir")
            if observe is not None:
                observe(statistics[-1], graph)
        return statistics


def format_pass(step: Pass) -> str:
    """A pass with the options that differ from their defaults, as in a pipeline string."""
    options = [
        f"{f.name}={format_literal(getattr(step, f.name), bare_strings=True)}"
        for f in fields(step)
        if getattr(step, f.name) != f.default
    ]
    return step.name + (f"{{{','.join(options)}}}" if options else "")


def run_passes(text: str, graph: Graph) -> bool:
    """Run the pipeline ``text`` on ``graph``; true if the graph changed."""
    return any(s.changed for s in Pipeline.parse(text).run(graph))


def _run_one(step: Pass, graph: Graph) -> PassStatistics:
    backup = graph.clone()
    before = _state(graph)
    count = len(graph.nodes)
    start = time.perf_counter()
    complete = False
    try:
        changed = step.run(graph)
        seconds = time.perf_counter() - start
        verify(graph)
        complete = True
    except InvalidGraphError as error:
        raise _bug(step, backup, f"leaves a graph that is not well formed: {error}") from error
    except _BUGS as error:
        raise _bug(step, backup, f"failed with {type(error).__name__}: {error}") from error
    finally:
        if not complete:
            _restore(graph, backup)
    if changed is None:
        changed = _state(graph) != before
    return PassStatistics(format_pass(step.resolved()), count, len(graph.nodes), seconds, changed)


def _state(graph: Graph) -> tuple[object, ...]:
    """Everything that a pass can change; values and nodes compare by identity."""
    nodes = [(n, n.op, list(n.inputs), list(n.outputs), n.name) for n in graph.nodes]
    return list(graph.inputs), list(graph.outputs), nodes, [(v.name, v.type) for v in graph.values()]


def _restore(graph: Graph, backup: Graph) -> None:
    graph.inputs, graph.outputs, graph.nodes = backup.inputs, backup.outputs, backup.nodes


def _bug(step: Pass, before: Graph, message: str) -> InternalError:
    text = format_pass(step)
    key = hashlib.sha256(f"{text} {before}".encode()).hexdigest()[:8]
    path = Path(tempfile.gettempdir()) / f"dnncc-{step.name}-{key}.ir"
    try:
        write_ir(before, path)
    except OutputError as error:
        return InternalError(
            f"pass '{text}' {message}", help=f"the graph that shows it could not be kept: {error.message}"
        )
    return InternalError(
        f"pass '{text}' {message}", help=f"please report it with {path}: dnncc opt {path} --passes '{text}'"
    )


def _folder(dump_dir: Path | str | None) -> Path | None:
    if dump_dir is None:
        return None
    folder = Path(dump_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
    return folder


class _Parser:
    """Parses a pipeline string."""

    def __init__(self, text: str) -> None:
        def error(message: str, line: int, column: int) -> DnnccError:
            return UsageError(
                f"pipeline '{text}', column {column}: {message}", help="dnncc list passes shows all passes"
            )

        self.scanner = Scanner(text, error)
        self.known = load_all()

    def passes(self) -> list[Pass]:
        found: list[Pass] = []
        while self.scanner.token.kind != "end":
            found.append(self.one())
            if self.scanner.token.kind != "end":
                self.scanner.expect(",")
        return found

    def one(self) -> Pass:
        scanner = self.scanner
        token = scanner.take("word", "a pass")
        cls = self.known.get(token.text)
        if cls is None:
            scanner.fail(f"unknown pass {token}{did_you_mean(token.text, self.known)}", token)
        return parse_record(scanner, cls, token, "option", scanner.literal)
