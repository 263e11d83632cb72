"""Text from outside (symbols, ids, reasons) before it reaches a terminal."""

from __future__ import annotations

import unicodedata

_SPOKEN = ("C", "Zl", "Zp")
"""Categories of what moves the cursor, turns the writing round or can't be seen."""


def harmless(text: str) -> str:
    """The text with control, format and line characters spelt out, such as `\\x1b` or `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        ascii(c)[1:-1] if unicodedata.category(c).startswith(_SPOKEN) else c for c in text
    )
