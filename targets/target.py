"""Who generates code for a board: one object per family of machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dnncc.errors import UsageError
from dnncc.ir.graph import Node

if TYPE_CHECKING:
    from dnncc.driver import Compilation
    from dnncc.targets.boards import Board
    from dnncc.targets.program import GroupCode


class Target(Protocol):
    """A family of machines that share schedules and the form of the artifact."""

    @property
    def alignment(self) -> int:
        """Of arenas, and of everything that the planner places in them, in bytes."""

    def lower(self, node: Node, compact: bool) -> GroupCode:
        """Schedule, lower and print one ``fused`` node; ``compact`` asks for little scratch memory."""

    def write(self, compilation: Compilation, folder: Path) -> dict[str, Any]:
        """Write the files that are this family's own; returns what the manifest says of them.

        Raises:
            ToolMissingError, ToolFailedError: a tool that the family needs is missing or fails.
        """


def target_of(board: Board, tuned: Path | None = None) -> Target:
    """The target of a board's family.

    Args:
        tuned: a file of ``dnncc tune``, for processors.

    Raises:
        UsageError: the file is damaged, or the family is not tuned.
    """
    if board.family == "cpu":
        from dnncc.runtime.cpus import CPUS
        from dnncc.targets.cpu.target import CpuTarget
        from dnncc.targets.cpu.tuned import read_entries

        return CpuTarget(CPUS[board.core], {} if tuned is None else read_entries(tuned))
    if tuned is not None:
        raise UsageError(
            f"code for {board.name} is not tuned", help="only that of processors is, such as --target cpu"
        )
    from dnncc.targets.c_target import CTarget

    return CTarget()


def check_tools(board: Board) -> None:
    """Look for what writing an artifact will need, before any work is done.

    Raises:
        ToolMissingError: it is not there.
    """
    if board.family == "cpu":
        from dnncc.runtime.cpus import CPUS
        from dnncc.targets.cpu.build import library_compiler

        library_compiler(CPUS[board.core])
