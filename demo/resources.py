"""What processes queue for: workers, pooled connections, row locks. First come, first served; waits are bounded."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable

from demo.simulation import TIMED_OUT, Signal, SimulatedFailure, Simulation, Steps

DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


QUEUE_PATIENCE = 20.0


class Histogram:
    """A cumulative histogram with the bounds (seconds) the semantic conventions advise."""

    def __init__(self) -> None:
        self.counts = [0] * (len(DURATION_BOUNDS) + 1)
        self.sum = 0.0

    def record(self, seconds: float) -> None:
        """Counts one measurement."""
        self.counts[bisect_left(DURATION_BOUNDS, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        """How many measurements."""
        return sum(self.counts)


class Line:
    """A line of processes that wait for one of `size` places; those that lose patience or die leave it."""

    def __init__(self, simulation: Simulation, size: int) -> None:
        self.simulation = simulation
        self.size = size
        self.taken = 0
        self._waiting: deque[Signal] = deque()

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return sum(not turn.fired for turn in self._waiting)

    def enter(self, patience: float) -> Steps:
        """Takes a place; returns False when the patience (seconds) ran out. Killed while it waits, it leaves no place taken."""
        if self.taken < self.size and not self._waiting:
            self.taken += 1
            return True
        turn = Signal(self.simulation)
        self._waiting.append(turn)
        served = False
        try:
            served = (yield turn, patience) is not TIMED_OUT
            return served
        finally:
            if not served:
                self._give_up(turn)

    def leave(self) -> None:
        """Gives a place back: the next in line has it."""
        self.taken -= 1
        self._admit()

    def resize(self, size: int) -> None:
        """Changes how many places there are; nobody is thrown out."""
        self.size = size
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.taken < self.size:
            turn = self._waiting.popleft()
            if not turn.fired:
                self.taken += 1
                turn.fire()

    def _give_up(self, turn: Signal) -> None:
        if turn.fired:  # its turn came at the very instant it gave up
            self.leave()
            return
        turn.fire(TIMED_OUT)
        if len(self._waiting) > 64 and self._waiting[0].fired:
            self._waiting = deque(each for each in self._waiting if not each.fired)


class Workers:
    """A server's workers: at most `size` requests are worked on, at most `queue` wait, more are turned away."""

    def __init__(self, simulation: Simulation, size: int, queue: int) -> None:
        self.line = Line(simulation, size)
        self.queue = queue

    def enter(self) -> Steps:
        """Takes a worker. Raises SimulatedFailure when the queue is full."""
        if self.line.taken >= self.line.size and self.line.waiting >= self.queue:
            raise SimulatedFailure("503", "server is overloaded: request queue is full")
        if not (yield from self.line.enter(QUEUE_PATIENCE)):
            raise SimulatedFailure("503", f"server is overloaded: no worker within {QUEUE_PATIENCE:g} s")

    def leave(self) -> None:
        """Gives the worker back."""
        self.line.leave()


class ConnectionPool:
    """A client's connections to one database. Opened on demand up to `size`, kept when idle; waits are bounded by `patience` seconds."""

    def __init__(self, simulation: Simulation, size: int, *, patience: float, connect: Callable[[], Steps], close: Callable[[], None]) -> None:
        self.simulation = simulation
        self.patience = patience
        self.open = 0
        self.wait_time = Histogram()
        self.timeouts = 0
        self._line = Line(simulation, size)
        self._connect = connect
        self._close = close

    @property
    def size(self) -> int:
        """The most connections it may hold."""
        return self._line.size

    @property
    def used(self) -> int:
        """Connections in use."""
        return self._line.taken

    @property
    def pending(self) -> int:
        """Requests that wait for a connection."""
        return self._line.waiting

    def acquire(self) -> Steps:
        """Takes a connection. Raises SimulatedFailure when none came free in time or the database refused a new one."""
        started = self.simulation.now
        got = yield from self._line.enter(self.patience)
        if not got:
            self.timeouts += 1
            raise SimulatedFailure(
                "PoolTimeout", f"connection is not available, request timed out after {self.patience * 1000:.0f}ms (total={self.size}, active={self.used})"
            )
        if self.open < self._line.taken:
            self.open += 1
            opened = False
            try:
                yield from self._connect()
                opened = True
            finally:
                if not opened:
                    self.open -= 1
                    self._line.leave()
        self.wait_time.record(self.simulation.now - started)

    def release(self) -> None:
        """Gives a connection back; one too many is closed."""
        if self.open > self._line.size:
            self.open -= 1
            self._close()
        self._line.leave()

    def resize(self, size: int) -> None:
        """Changes the most connections it may hold; idle ones beyond it are closed at once."""
        self._line.resize(size)
        while self.open > max(size, self._line.taken):
            self.open -= 1
            self._close()

    def drop_all(self) -> None:
        """The process died: the database sees all its connections closed."""
        while self.open:
            self.open -= 1
            self._close()


class RowLocks:
    """Exclusive locks on rows of a database."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self._rows: dict[str, Line] = {}

    @property
    def waiting(self) -> int:
        """Transactions that wait for a lock."""
        return sum(line.waiting for line in self._rows.values())

    @property
    def held(self) -> int:
        """Locks held."""
        return sum(line.taken for line in self._rows.values())

    def acquire(self, row: str, patience: float) -> Steps:
        """Locks a row; False when it took longer than `patience` seconds."""
        line = self._rows.setdefault(row, Line(self.simulation, 1))
        got = yield from line.enter(patience)
        return got

    def release(self, row: str) -> None:
        """Unlocks it."""
        self._rows[row].leave()
