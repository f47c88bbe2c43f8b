"""What services depend on and what sends no spans itself: databases, a cache, a topic's broker, services outside, the network."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from random import Random

from demo.compute import Container
from demo.declarations import CacheSpec, DatabaseSpec, ExternalSpec, Keyspace, Statement, TopicSpec
from demo.resources import RowLocks
from demo.simulation import Signal, SimulatedFailure, Simulation, Steps

LOCK_PATIENCE = 3.0
CONNECT_MILLISECONDS = 4.0


def about(random: Random, median: float, spread: float = 0.25) -> float:
    """A lognormal draw around a median."""
    return median * math.exp(spread * random.gauss(0.0, 1.0))


class Database:
    """A database server: queries cost its CPU and storage, updates of hot rows wait for locks, connections are limited."""

    def __init__(self, simulation: Simulation, spec: DatabaseSpec, container: Container, random: Random) -> None:
        self.simulation = simulation
        self.spec = spec
        self.container = container
        self.random = random
        self.connections = 3  # the server's own
        self.locks = RowLocks(simulation)
        self.slower: dict[str, float] = {}  # statement -> how many times its usual cost
        self.commits = 0
        self.rollbacks = 0
        self.queries: dict[str, int] = {}

    def connect(self) -> Steps:
        """Opens a connection. Raises SimulatedFailure when the server has no more to give."""
        if self.connections >= self.spec.connection_limit:
            raise SimulatedFailure("53300", "FATAL: sorry, too many clients already")
        self.connections += 1
        done = False
        try:
            yield about(self.random, CONNECT_MILLISECONDS / 1e3)
            done = True
        finally:
            if not done:
                self.connections -= 1

    def disconnect(self) -> None:
        """Closes a connection."""
        self.connections -= 1

    def execute(self, statement: Statement) -> Steps:
        """Runs a statement. Raises SimulatedFailure when a lock took too long."""
        self.queries[statement.summary] = self.queries.get(statement.summary, 0) + 1
        row = self._row(statement)
        if row and not (yield from self.locks.acquire(row, LOCK_PATIENCE)):
            self.rollbacks += 1
            raise SimulatedFailure("55P03", "canceling statement due to lock timeout")
        try:
            factor = self.slower.get(statement.summary, 1.0)
            yield from self.container.work(about(self.random, statement.cpu_milliseconds) * factor / 1e3)
            yield about(self.random, statement.io_milliseconds, 0.4) * factor / 1e3
        finally:
            if row:
                self.locks.release(row)
        self.commits += 1

    def hold_row(self, row: str, seconds: float) -> Steps:
        """A transaction of someone else's that locks a row and stays open."""
        if (yield from self.locks.acquire(row, 30.0)):
            try:
                yield seconds
            finally:
                self.locks.release(row)

    def _row(self, statement: Statement) -> str:
        if not statement.hot_rows:
            return ""
        table = statement.summary.split()[-1]
        return f"{table}/{min(int(self.random.expovariate(1.0)), statement.hot_rows - 1)}"


class Cache:
    """A cache: entries live for a while after they were put, a flush forgets all."""

    def __init__(self, simulation: Simulation, spec: CacheSpec, random: Random) -> None:
        self.simulation = simulation
        self.spec = spec
        self.random = random
        self.hits = 0
        self.misses = 0
        self.commands = 0
        self._entries: dict[tuple[str, int], float] = {}
        self._popularity: dict[str, list[float]] = {}

    def draw(self, keyspace: Keyspace) -> int:
        """A key, by popularity."""
        table = self._popularity.get(keyspace.name)
        if table is None:
            table = self._popularity[keyspace.name] = _cumulated(keyspace)
        return bisect_left(table, self.random.random() * table[-1])

    def get(self, keyspace: Keyspace, key: int) -> bool:
        """Whether it is there."""
        self.commands += 1
        hit = self._entries.get((keyspace.name, key), 0.0) > self.simulation.now
        self.hits += hit
        self.misses += not hit
        return hit

    def put(self, keyspace: Keyspace, key: int) -> None:
        """Keeps it for the keyspace's time to live, give or take a tenth."""
        self.commands += 1
        self._entries[keyspace.name, key] = self.simulation.now + keyspace.seconds_to_live * self.random.uniform(0.9, 1.1)

    def flush(self) -> None:
        """Forgets everything."""
        self._entries.clear()

    def warm(self, keyspace: Keyspace, reads_per_second: float) -> None:
        """Fills it as it would stand after hours at this rate: a key is there if it was read within its time to live."""
        table = _cumulated(keyspace)
        for key in range(keyspace.keys):
            rate = reads_per_second * (table[key] - (table[key - 1] if key else 0.0)) / table[-1]
            cycle = keyspace.seconds_to_live + 1.0 / rate
            left = keyspace.seconds_to_live - self.random.uniform(0.0, cycle)
            if left > 0:
                self._entries[keyspace.name, key] = self.simulation.now + left

    @property
    def keys(self) -> int:
        """Entries that still live."""
        return sum(until > self.simulation.now for until in self._entries.values())


def _cumulated(keyspace: Keyspace) -> list[float]:
    total, table = 0.0, []
    for rank in range(1, keyspace.keys + 1):
        total += rank**-keyspace.skew
        table.append(total)
    return table


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a topic, with the trace and the span that published it."""

    trace: bytes
    span: bytes
    offset: int


@dataclass(slots=True)
class Partition:
    """A partition's log, as far as somebody has yet to read it."""

    end: int = 0
    waiting: dict[str, deque[Message]] = field(default_factory=dict)
    committed: dict[str, int] = field(default_factory=dict)

    def lag(self, group: str) -> int:
        """Messages the group has not yet done with."""
        return self.end - self.committed[group]


class Topic:
    """A topic with consumer groups. Each partition is read by one member of a group at a time."""

    def __init__(self, simulation: Simulation, spec: TopicSpec, random: Random) -> None:
        self.simulation = simulation
        self.spec = spec
        self.random = random
        self.partitions = [Partition() for _ in range(spec.partitions)]
        self.groups: tuple[str, ...] = ()
        self._arrival: dict[str, Signal] = {}

    def join(self, group: str) -> None:
        """A group begins to read."""
        if group not in self.groups:
            self.groups = (*self.groups, group)
            for partition in self.partitions:
                partition.waiting[group] = deque()
                partition.committed[group] = partition.end

    def publish(self, trace: bytes, span: bytes) -> int:
        """Appends a message; returns its partition."""
        place = self.random.randrange(len(self.partitions))
        partition = self.partitions[place]
        message = Message(trace, span, partition.end)
        partition.end += 1
        for group in self.groups:
            partition.waiting[group].append(message)
            signal = self._arrival.pop(group, None)
            if signal is not None:
                signal.fire()
        return place

    def arrival(self, group: str) -> Signal:
        """Fires when there is something new for the group."""
        return self._arrival.setdefault(group, Signal(self.simulation))


class External:
    """A service of someone else: only its answers, their time and their failures are known."""

    def __init__(self, simulation: Simulation, spec: ExternalSpec, random: Random) -> None:
        self.simulation = simulation
        self.spec = spec
        self.random = random
        self.outage = ""  # "", "refuses" (answers 503) or "silent" (never answers)
        self.outage_share = 0.0

    def handle(self) -> Steps:
        """Answers a request. Raises SimulatedFailure when it fails."""
        if self.outage and self.random.random() < self.outage_share:
            if self.outage == "silent":
                yield 600.0
            yield about(self.random, 0.04)
            raise SimulatedFailure("503", "Service Unavailable")
        yield about(self.random, self.spec.median_milliseconds / 1e3, 0.3)
        if self.random.random() < self.spec.error_share:
            raise SimulatedFailure("502", "Bad Gateway")


class Network:
    """One-way delays between services: by distance, and what is added to a link."""

    WITHIN_CLUSTER = 0.0004
    BETWEEN_CLUSTERS = 0.006

    def __init__(self, random: Random) -> None:
        self.random = random
        self.added: dict[tuple[str, str], float] = {}  # (caller, callee) -> seconds one way

    def delay(self, caller: str, callee: str, *, same_cluster: bool) -> float:
        """Seconds that a packet takes."""
        usual = about(self.random, self.WITHIN_CLUSTER if same_cluster else self.BETWEEN_CLUSTERS, 0.15)
        added = self.added.get((caller, callee), 0.0)
        return usual + (about(self.random, added, 0.2) if added else 0.0)
