"""Numbers of bytes as people write them."""

from __future__ import annotations

import re

_FORM = re.compile(r"(\d+)\s*(?:([KMG])(?:i?B)?|B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def parse_bytes(text: str) -> int:
    """``65536``, ``64K``, ``64KB`` and ``64KiB`` are the same: the units of memories are powers of two.

    Raises:
        ValueError: the text is nothing like that.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"'{text}' is no number of bytes, such as 65536, 64K or 64KiB")
    return int(found[1]) * _UNITS[(found[2] or "").upper()]
