"""Whatever goes wrong becomes one message and an exit status; no traceback reaches a user."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from types import TracebackType

from dnncc.cli.output import emit_error
from dnncc.errors import DnnccError, InternalError, InterruptError, OutOfMemoryError, OutputError

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class Guard:
    """Reports what leaves its block.

    Args:
        words: the command line.

    Attributes:
        status: the exit status.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.status = 0

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or isinstance(error, SystemExit | GeneratorExit):
            return False
        options = self.words[: self.words.index("--")] if "--" in self.words else self.words
        self.status = emit_error(_as_error(error, self.words), "--json" in options)
        return True


def _as_error(error: BaseException, words: Sequence[str]) -> DnnccError:
    if isinstance(error, DnnccError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return InterruptError("interrupted")
    if isinstance(error, MemoryError):
        return OutOfMemoryError("this machine does not have enough memory", help=str(error))
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        return OutputError(f"cannot write {error.filename or 'a file'}: {error.strerror}")
    what = " ".join(f"{type(error).__name__}: {error}".split())
    try:
        path = _keep(error, words)
    except OSError as failure:
        return InternalError(
            f"a bug of dnncc: {what}", help=f"its traceback could not be kept: {failure.strerror}"
        )
    return InternalError(
        f"a bug of dnncc: {what}", help=f"please report it with {path} and the files that it names"
    )


def _keep(error: BaseException, words: Sequence[str]) -> str:
    """Write a file that shows what happened; returns its path."""
    import platform
    import shlex
    import tempfile
    import traceback

    from dnncc import __version__

    text = [
        f"dnncc {__version__}, Python {platform.python_version()}, {platform.platform()}\n",
        f"command: dnncc {shlex.join(words)}\n\n",
        *traceback.format_exception(error),
    ]
    with tempfile.NamedTemporaryFile(
        "w", prefix="dnncc-crash-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
    ) as file:
        file.writelines(text)
    return file.name
