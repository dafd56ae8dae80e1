"""An artifact on disk as the runtime sees it: its inputs, outputs, memory and sources."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dnncc.errors import Culprit, UsageError
from numpy.typing import NDArray

Array = NDArray[Any]

# The dtypes of the manifest: the C type in the generated header and the numpy type of the same layout.
C_TYPES = {
    "i8": "int8_t",
    "u8": "uint8_t",
    "i16": "int16_t",
    "u16": "uint16_t",
    "i32": "int32_t",
    "u32": "uint32_t",
    "i64": "int64_t",
    "u64": "uint64_t",
    "bool": "uint8_t",
    "f32": "float",
    "f64": "double",
}
_NUMPY_TYPES = {
    "i8": np.int8,
    "u8": np.uint8,
    "i16": np.int16,
    "u16": np.uint16,
    "i32": np.int32,
    "u32": np.uint32,
    "i64": np.int64,
    "u64": np.uint64,
    "bool": np.bool_,
    "f32": np.float32,
    "f64": np.float64,
}


@dataclass(frozen=True)
class Port:
    """One input or output of the network.

    Attributes:
        name: as in the model.
        dtype: "i8", "u8", "f32", ...
        shape: elements per axis.
        align: what the generated code may assume about the address, in bytes; the C type's own alignment
            unless the manifest promises more.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    align: int

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        return np.dtype(_NUMPY_TYPES[self.dtype])

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.numpy_dtype.itemsize


@dataclass(frozen=True)
class ArenaPool:
    """One memory pool that the caller hands to the network: a member of its struct and a size macro."""

    name: str
    member: str
    macro: str
    bytes: int
    align: int


@dataclass(frozen=True)
class NodeInfo:
    """One node of the compiled network, in the order of the profiling macros."""

    name: str
    op: str
    macs: int


@dataclass(frozen=True)
class Bundle:
    """A C artifact: the folder and the parts of its manifest that running it needs.

    Attributes:
        folder: where it is.
        name: the prefix of every C symbol and file.
        core: the core that it was compiled for, such as "cortex-m4" or "x86-64-v3", or "host".
        sources: the C files (and the assembly of the weights) that make up the network, without the self-test.
        library: the shared library's file; None where the sources are all there is.
    """

    folder: Path
    name: str
    core: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    pools: tuple[ArenaPool, ...]
    nodes: tuple[NodeInfo, ...]
    sources: tuple[str, ...]
    library: str | None = None

    @classmethod
    def open(cls, folder: Path | str) -> Bundle:
        """Reads `folder`/manifest.json.

        Raises:
            UsageError: the folder is not a C artifact, or its manifest is damaged.
        """
        root = Path(folder)
        path = root / "manifest.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(
                f"{root} is not an artifact: manifest.json cannot be read ({error.strerror})",
                help="give the folder that `dnncc compile -o` wrote",
            ) from error
        except ValueError as error:
            raise UsageError(f"{path} is not valid JSON: {error}") from error
        if isinstance(document, dict) and document.get("family") == "hls":
            raise UsageError(
                f"{root} is for an FPGA: it does not run as a program",
                help=f"dnncc validate {root} simulates it",
            )
        try:
            bundle = _parse(root, document)
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{path} does not describe a C artifact: {type(error).__name__}: {error}",
                help="compile the model again",
            ) from error
        missing = [name for name in bundle.files if not (root / name).is_file()]
        if missing:
            raise UsageError(
                f"{root} is not complete", [Culprit(name, reason="the file is missing") for name in missing]
            )
        return bundle

    @property
    def files(self) -> tuple[str, ...]:
        """What must be there."""
        return (*self.sources, self.header, *(() if self.library is None else (self.library,)))

    @property
    def header(self) -> str:
        return f"{self.name}.h"

    @property
    def macro_prefix(self) -> str:
        return self.name.upper()

    @property
    def selftest(self) -> str:
        return f"{self.name}_selftest.c"

    def check_inputs(self, inputs: Sequence[Array]) -> list[Array]:
        """One sample's inputs as contiguous arrays of exactly the artifact's types and shapes.

        Raises:
            UsageError: the number, a dtype or a number of elements differs. Nothing is converted.
        """
        if len(inputs) != len(self.inputs):
            raise UsageError(f"{self.name} has {len(self.inputs)} inputs, {len(inputs)} were given")
        checked = []
        for port, array in zip(self.inputs, inputs, strict=True):
            if array.dtype != port.numpy_dtype or array.size != math.prod(port.shape):
                raise UsageError(
                    f"input {port.name!r} must be {port.numpy_dtype} with shape {port.shape}, "
                    f"not {array.dtype} with shape {array.shape}"
                )
            checked.append(np.ascontiguousarray(array).reshape(port.shape))
        return checked


def _parse(folder: Path, document: Mapping[str, Any]) -> Bundle:
    return Bundle(
        folder=folder,
        name=_identifier(document.get("name", "net")),
        core=str(document["core"]),
        inputs=tuple(_port(entry) for entry in document["inputs"]),
        outputs=tuple(_port(entry) for entry in document["outputs"]),
        pools=tuple(
            ArenaPool(
                name=str(entry["name"]),
                member=_identifier(entry["member"]),
                macro=_identifier(entry["macro"]),
                bytes=int(entry["bytes"]),
                align=_alignment(entry.get("align", 8)),
            )
            for entry in document["pools"]
        ),
        nodes=tuple(
            NodeInfo(str(entry["name"]), str(entry["op"]), int(entry.get("macs", 0)))
            for entry in document.get("nodes", ())
        ),
        sources=tuple(_file_name(entry, (".c", ".S")) for entry in document["sources"]),
        library=None if document.get("library") is None else _file_name(document["library"], (".so",)),
    )


def _port(entry: Mapping[str, Any]) -> Port:
    dtype = str(entry["dtype"])
    if dtype not in C_TYPES:
        raise ValueError(f"dtype {dtype!r} of {entry['name']!r} is none of {', '.join(C_TYPES)}")
    itemsize = np.dtype(_NUMPY_TYPES[dtype]).itemsize
    shape = tuple(int(extent) for extent in entry["shape"])
    return Port(str(entry["name"]), dtype, shape, _alignment(entry.get("align", itemsize)))


def _alignment(value: Any) -> int:
    align = int(value)
    if align < 1 or align & (align - 1):
        raise ValueError(f"alignment {align} is not a power of two")
    return align


def _identifier(value: Any) -> str:
    if not (isinstance(value, str) and value.isascii() and value.isidentifier()):
        raise ValueError(f"{value!r} is not a C identifier")
    return value


def _file_name(value: Any, suffixes: tuple[str, ...]) -> str:
    # Sources are compiled and libraries loaded: a manifest must not be able to name a file outside its folder.
    name = str(value)
    if name != Path(name).name or not name.endswith(suffixes):
        raise ValueError(f"{name!r} is not the name of a {suffixes[0]} file in the artifact's folder")
    return name
