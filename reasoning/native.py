"""Functions over arrays, compiled to machine code at their first call and kept on disk. Nothing is compiled at import."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from reasoning.errors import NativeCodeError

try:
    import numba
except Exception as trouble:  # a broken installation raises anything: ImportError, OSError of a library, AttributeError of a version that does not fit
    raise NativeCodeError(trouble) from trouble

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """numba.njit, kept on disk wherever numba finds a directory it may write (else each process compiles for itself).

    What is kept stands as long as no file of the function's folder changes. numba itself looks at the function's own file only, and
    goes on calling what another file said before.
    """
    return _dispatcher(function)


def inlined(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """As `compiled`, for what runs millions of times: becomes a part of its caller, as handing over a NamedTuple of arrays costs more than it does,
    and counts no references, which would cost several times the arithmetic. So it must not make arrays, nor return any.
    """
    return _dispatcher(function, forceinline=True, error_model="numpy", _nrt=False)


def _dispatcher(function: Callable[Parameters, Result], **options: Any) -> Callable[Parameters, Result]:
    compiler: Any = numba.njit
    try:
        dispatcher: Any = compiler(cache=True, **options)(function)
    except RuntimeError:  # numba's word for: no cache directory is writable
        dispatcher = compiler(cache=False, **options)(function)
    else:
        dispatcher._cache._cache_file._source_stamp = _stamp(Path(function.__code__.co_filename).parent)  # noqa: SLF001
    kept: Callable[Parameters, Result] = dispatcher
    return kept


@contextmanager
def compiling() -> Iterator[None]:
    """What numba and LLVM raise where they can't compile leaves as NativeCodeError."""
    try:
        yield
    except (numba.core.errors.NumbaError, OSError, SystemError) as trouble:
        raise NativeCodeError(trouble) from trouble


@cache
def _stamp(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
