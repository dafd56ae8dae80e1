"""The file of measured tiles: by layer, what was the fastest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from dnncc.errors import OutputError, UsageError

if TYPE_CHECKING:
    from dnncc.targets.lowering.cpu.choice import Tiling

SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """The fastest tile of a layer, see ``dnncc.targets.lowering.cpu.choice.Tiling``, and its microseconds."""

    lines: int
    pixels: int
    vectors: int
    channels_outside: bool
    microseconds: float

    @classmethod
    def of(cls, tiling: Tiling, microseconds: float) -> Entry:
        return cls(
            tiling.lines, tiling.pixels, tiling.vectors, tiling.channels_outside, round(microseconds, 3)
        )


def read_entries(path: Path) -> Mapping[str, Entry]:
    """
    Raises:
        UsageError: there is no such file, or it is none of ours.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']}")
        names = {f.name for f in fields(Entry)}
        return {
            str(key): Entry(**{name: value for name, value in entry.items() if name in names})
            for key, entry in document["layers"].items()
        }
    except OSError as error:
        raise UsageError(f"the tuning file {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is no tuning file: {type(error).__name__}: {error}", help="`dnncc tune` writes one"
        ) from error


def write_entries(path: Path, entries: Mapping[str, Entry]) -> None:
    """
    Raises:
        OutputError: it cannot be written.
    """
    document = {"schema": SCHEMA, "layers": {key: asdict(entries[key]) for key in sorted(entries)}}
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
