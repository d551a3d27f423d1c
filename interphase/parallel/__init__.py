"""Many calls at once: in warm processes on this machine, or on the workers of a Dask cluster."""

from interphase.parallel.calls import cores, for_each, threads
from interphase.parallel.children import (
    ChildCallError,
    ChildLostError,
    ChildPool,
    ChildTimeoutError,
)

__all__ = [
    "ChildCallError",
    "ChildLostError",
    "ChildPool",
    "ChildTimeoutError",
    "cores",
    "for_each",
    "threads",
]
