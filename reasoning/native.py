"""Functions over arrays, compiled to machine code at their first call and kept on disk. Nothing is compiled at import."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """numba.njit, kept on disk wherever numba finds a directory it may write (else each process compiles for itself)."""
    try:
        dispatcher: Callable[Parameters, Result] = numba.njit(cache=True)(function)
    except RuntimeError:  # numba's word for: no cache directory is writable
        dispatcher = numba.njit(cache=False)(function)
    return dispatcher
