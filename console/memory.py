"""How much memory many threads take."""

from __future__ import annotations

import contextlib
import sys


def share_arenas() -> None:
    """Have the services' threads share two of malloc's arenas instead of hoarding one each.

    glibc gives every thread that finds the others busy an arena of its own and never takes one
    back: a dozen megabytes for nothing on a machine of two cores. Elsewhere this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    arena_max = -8
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(arena_max, 2)
