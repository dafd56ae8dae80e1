"""Files of named arrays, written whole or not at all."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from dnncc.errors import OutputError
from dnncc.ir.types import Array

_HELP = "choose another output file with -o"


def check_file_writable(path: Path) -> None:
    """OutputError if ``path`` cannot be written, so that nobody works for it in vain."""
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is no regular file", help=_HELP)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", help=_HELP) from error


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """What ``np.load`` reads; unlike ``np.savez`` it takes every name, and leaves the file's name as it is.

    The same arrays give the same bytes.

    Raises:
        OutputError: the file cannot be written; what was there is still there.
    """
    partial: str | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
            partial = file.name
            with zipfile.ZipFile(file, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
        Path(partial).chmod(0o644)
        Path(partial).replace(path)
        partial = None
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", help=_HELP) from error
    finally:
        if partial is not None:
            Path(partial).unlink()
