"""Writes that wait on the local disk while the store is away. What was appended survives kill -9."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from graph.sole_owner import sole_owner
from graph.store import StoreUnavailableError
from graph.writing import Write, write_json, write_of

Result = TypeVar("Result")
LAYOUT = 1
MOST_BYTES = 256 * 1024 * 1024


class Journal:
    """A queue of writes in one SQLite file, made when it is first needed. Blocking: call it from one thread at a time.

    `most_bytes`: how much may wait; `append` takes nothing beyond that.
    """

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self.waiting = 0
        self._most = most_bytes
        self._bytes = 0
        self._database: sqlite3.Connection | None = None
        self._lock: int | None = None

    @property
    def exists(self) -> bool:
        """Whether there may be writes of an earlier life."""
        return self.path.exists()

    def open(self) -> None:
        """Takes up what waits. Raises StoreUnavailableError."""
        self._told(self._connection)

    def append(self, writes: Sequence[Write]) -> int:
        """How many of the writes, from the first on, are on disk when this returns; the rest found no room. Raises StoreUnavailableError."""
        return self._told(lambda: self._append(writes))

    def first(self) -> tuple[int, Write] | None:
        """The write that waits longest, and its number. Raises StoreUnavailableError."""
        return self._told(self._first)

    def drop(self, number: int) -> None:
        """The write was taken by the store. Raises StoreUnavailableError."""
        self._told(lambda: self._drop(number))

    def close(self) -> None:
        """Releases the file; one that is empty is removed."""
        if self._database is not None:
            self._database.close()
            self._database = None
            if not self.waiting:
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _append(self, writes: Sequence[Write]) -> int:
        database, taken = self._connection(), list[bytes]()
        room = self._most - self._bytes
        for write in writes:
            content = write_json(write)
            room -= len(content)
            if room < 0:
                break
            taken.append(content)
        if taken:
            database.execute("begin immediate")
            try:
                database.executemany("insert into waiting(content) values(?)", [(content,) for content in taken])
                database.execute("commit")
            except BaseException:
                if database.in_transaction:
                    database.execute("rollback")
                raise
            self.waiting += len(taken)
            self._bytes += sum(map(len, taken))
        return len(taken)

    def _first(self) -> tuple[int, Write] | None:
        row = self._connection().execute("select number, content from waiting order by number limit 1").fetchone()
        return None if row is None else (row[0], write_of(row[1]))

    def _drop(self, number: int) -> None:
        rows = self._connection().execute("delete from waiting where number = ? returning length(content)", (number,)).fetchall()
        self.waiting -= len(rows)
        self._bytes -= sum(row[0] for row in rows)

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self._lock is None:
                self._lock = sole_owner(self.path.with_suffix(".lock"))
            database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
            (layout,) = database.execute("pragma user_version").fetchone()
            if layout > LAYOUT:
                database.close()
                raise StoreUnavailableError(f"The journal {self.path} is of a newer Whence (layout {layout}): upgrade Whence, or choose another --data-dir.")
            # A number is never used twice: a write that is dropped late must not be another.
            database.execute("create table if not exists waiting(number integer primary key autoincrement, content blob not null)")
            database.execute(f"pragma user_version = {LAYOUT}")
            self.waiting, self._bytes = database.execute("select count(*), coalesce(sum(length(content)), 0) from waiting").fetchone()
            self._database = database
        return self._database

    def _told(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except (OSError, sqlite3.DatabaseError) as trouble:
            raise StoreUnavailableError(f"The journal {self.path} does not work ({trouble}): check the disk's space and the file.") from trouble
