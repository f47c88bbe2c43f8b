"""Where answers go: text for people on stdout as wide as the terminal, JSON for programs, trouble in one line on stderr."""

from __future__ import annotations

import os
import sys

import orjson
from rich.console import Console

PIPED_WIDTH = 100


class CommandError(Exception):
    """A command that ends without what was asked. `code`: 1 where the asked-for thing is not there, 2 for usage and trouble."""

    def __init__(self, message: str, *, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class ReaderGoneError(Exception):
    """Whoever read stdout has seen enough, as in `whence topology | head -1`."""


class _Output(Console):
    def on_broken_pipe(self) -> None:
        raise ReaderGoneError


def stdout_console() -> Console:
    """Plain where it is piped; as wide as COLUMNS or 100 characters there. Printing raises ReaderGoneError."""
    width = None if sys.stdout.isatty() else int(columns) if (columns := os.environ.get("COLUMNS", "")).isdigit() else PIPED_WIDTH
    return _Output(width=width, markup=False, emoji=False, highlight=False)


def print_json(value: object) -> None:
    """One line of JSON on stdout. Raises ReaderGoneError."""
    write_line(orjson.dumps(value))


def write_line(line: bytes) -> None:
    """A line on stdout, at once. Raises ReaderGoneError."""
    try:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise ReaderGoneError from None


def silence() -> None:
    """Lets what is still to be written to stdout go nowhere: at its end Python would complain that nobody reads it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(message: str) -> None:
    """One line on stderr."""
    sys.stderr.write(f"whence: {' '.join(message.split())}\n")
    sys.stderr.flush()
