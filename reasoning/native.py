"""Functions over arrays, compiled to machine code at their first call and kept on disk. Nothing is compiled at import."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """numba.njit with a cache on disk, under the function's own types."""
    dispatcher: Callable[Parameters, Result] = numba.njit(cache=True)(function)
    return dispatcher
