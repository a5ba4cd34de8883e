"""What a request may cost before anything is made of it. The real server has no such bounds; a process in Python needs some."""

import ctypes
import gc

GRPC_BYTES = 256 << 20
"""The largest gRPC message."""

FILLED_BYTES = 16 << 20
"""What the tensors of a gRPC request may hold beyond what it carries: one value may stand for a whole tensor, so that a hundred
bytes could ask for gigabytes."""

BODY_BYTES = 16 << 20
"""The largest body of a REST request. As Python's lists and numbers, JSON takes up to seventy times its size."""

HELD_BYTES = 8 * BODY_BYTES
"""All bodies that are read, wait or are answered at one time."""

LARGE_BODY = 1 << 20
"""Bodies above are answered one at a time, and what they took is handed back to the system."""

WAITING = 1024
"""gRPC requests under way, those included that wait for a thread."""


def give_back_memory() -> None:
    """Frees what a large request has left: objects in cycles, and pages that the C library keeps for later."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
