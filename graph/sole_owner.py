"""One process a file: a lock beside it that names its owner."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from graph.store import StoreUnavailableError


def sole_owner(path: Path) -> int:
    """The descriptor of the lock file, held until it is closed. Raises StoreUnavailableError, naming who has it, and OSError."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        raise StoreUnavailableError(f"The store beside {path} is in use by another whence (pid {owner}): stop it, or choose another --data-dir.") from None
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock
