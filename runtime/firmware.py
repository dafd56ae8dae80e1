"""An image for the emulator, read from its ELF file: regions, symbols, sizes and the borders of nodes."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnncc.errors import ToolFailedError, ToolMissingError

THUMB_BIT = 1
# The output sections of harness/emulator.ld.
_SECTIONS = {
    ".text.artifact",
    ".text.other",
    ".rodata.artifact",
    ".rodata.other",
    ".data.artifact",
    ".bss.artifact",
    ".data.other",
}


@dataclass(frozen=True)
class Region:
    """A range of addresses, [begin, end)."""

    name: str
    begin: int
    end: int

    @property
    def bytes(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class Symbols:
    """Functions and objects by address."""

    addresses: tuple[int, ...]
    names: tuple[str, ...]

    def describe(self, address: int) -> str:
        """ "name+offset" of the closest symbol at or below `address`."""
        index = bisect.bisect_right(self.addresses, address) - 1
        if index < 0:
            return f"0x{address:08x}"
        offset = address - self.addresses[index]
        return f"{self.names[index]}+{offset}" if offset else self.names[index]


@dataclass(frozen=True)
class Firmware:
    """A linked image.

    Attributes:
        entry: address of the network's run function, without the Thumb bit.
        code: all code, the artifact's and the run-time library's; constants: the artifact's; statics:
            read-write.
        contents: (address, bytes) of everything that is loaded.
        layout: the words of ``dnncc_glue_layout`` (see glue.layout_source).
        code_bytes, constant_bytes, static_bytes: of the artifact's own objects.
        library_bytes: code and constants of everything else that is linked in (memcpy, 64-bit arithmetic...).
        initialized_bytes: the part of the statics that flash holds initial values for.
        marks: address to profiling state, where the state changes.
    """

    entry: int
    code: Region
    constants: Region
    library_constants: Region
    statics: Region
    contents: tuple[tuple[int, bytes], ...]
    layout: tuple[int, ...]
    symbols: Symbols
    code_bytes: int
    constant_bytes: int
    library_bytes: int
    initialized_bytes: int
    static_bytes: int
    marks: Mapping[int, int]

    @property
    def flash_bytes(self) -> int:
        """Flash of the artifact's own objects: code, constants and initial values."""
        return self.code_bytes + self.constant_bytes + self.initialized_bytes


def read_firmware(path: Path, entry: str) -> Firmware:
    """Reads an image that toolchain.compile_firmware built.

    Args:
        entry: the function to run, such as "net_run".

    Raises:
        ToolMissingError: pyelftools is not installed.
        ToolFailedError: a section lies outside the layout, so its memory cannot be watched.
    """
    try:
        from elftools.elf.elffile import ELFFile
    except ImportError as error:
        raise ToolMissingError("pyelftools is not installed", help="pip install dnncc[emulate]") from error
    with path.open("rb") as file:
        elf = ELFFile(file)
        sections = {section.name: section for section in elf.iter_sections()}
        allocated = {
            name: section
            for name, section in sections.items()
            if section["sh_flags"] & 2 and section["sh_size"]  # SHF_ALLOC
        }
        unknown = sorted(set(allocated) - _SECTIONS)
        if unknown:
            raise ToolFailedError(
                f"the firmware has sections that the emulator's layout does not place: {', '.join(unknown)}",
                help="build without macros that move code or data into sections of their own",
            )
        values = {
            symbol.name: symbol["st_value"] for symbol in sections[".symtab"].iter_symbols() if symbol.name
        }
        contents = tuple(
            (section["sh_addr"], section.data())
            for section in allocated.values()
            if section["sh_type"] == "SHT_PROGBITS"
        )
        marks = _marks(sections[".dnncc_nodes"].data() if ".dnncc_nodes" in sections else b"")
    size = {name: section["sh_size"] for name, section in allocated.items()}
    code = Region("code", values["dnncc_text_begin"], values["dnncc_text_end"])
    glue = values["dnncc_glue_layout"]
    other = Region("library constants", glue, values["dnncc_rodata_other_end"])
    return Firmware(
        entry=values[entry] & ~THUMB_BIT,
        code=code,
        constants=Region("constants", values["dnncc_rodata_begin"], values["dnncc_rodata_end"]),
        library_constants=other,
        statics=Region("statics", values["dnncc_statics_begin"], values["dnncc_statics_other_end"]),
        contents=contents,
        layout=_words(contents, other),
        symbols=_symbols(values),
        code_bytes=size.get(".text.artifact", 0),
        constant_bytes=size.get(".rodata.artifact", 0),
        library_bytes=size.get(".text.other", 0) + size.get(".rodata.other", 0),
        initialized_bytes=size.get(".data.artifact", 0),
        static_bytes=size.get(".data.artifact", 0) + size.get(".bss.artifact", 0),
        marks=marks,
    )


def _marks(table: bytes) -> dict[int, int]:
    """Where two marks share an address the later one in the code (and so in the table) holds."""
    return {address & ~THUMB_BIT: state for address, state in struct.iter_unpack("<II", table)}


def _words(contents: tuple[tuple[int, bytes], ...], region: Region) -> tuple[int, ...]:
    data = next(data for address, data in contents if address <= region.begin < address + len(data))
    return tuple(word for (word,) in struct.iter_unpack("<I", data[: len(data) // 4 * 4]))


def _symbols(values: Mapping[str, Any]) -> Symbols:
    named = sorted(
        (value & ~THUMB_BIT, name)
        for name, value in values.items()
        if not name.startswith(("$", "dnncc_")) and value >= 0x1000
    )
    return Symbols(tuple(address for address, _ in named), tuple(name for _, name in named))
