"""OpenMP's threads, which a CPU's matrix products run on."""

import ctypes
import functools
from pathlib import Path

_SOFT = 1
"""omp_pause_soft: the threads end, settings stay"""


def release_threads() -> None:
    """Ends the OpenMP threads of the calling thread, which must not be computing; its next computation starts new ones.

    Each thread that computes has OpenMP threads of its own, for as long as it lives. Where all together are more than
    the processors, GNU's OpenMP puts them to sleep between any two operations, and a decoding step of hundreds of small
    ones takes twice as long. The thread that loaded the model would hold such threads without need. Does nothing where
    torch does not run on GNU's OpenMP.
    """
    library = _gnu_openmp()
    if library is not None:
        library.omp_pause_resource_all(_SOFT)


@functools.cache
def _gnu_openmp() -> ctypes.CDLL | None:
    """The library as it is loaded already."""
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return None
    path = next((line.split(maxsplit=5)[-1] for line in maps.read_text().splitlines() if "libgomp" in line), None)
    library = ctypes.CDLL(path) if path else None
    return library if hasattr(library, "omp_pause_resource_all") else None
