"""Lines, pools and locks: first come first served, bounded, and nothing is lost by those who give up or die."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.resources import ConnectionPool, Histogram, Line, RowLocks, Workers
from demo.simulation import Process, SimulatedFailure, Simulation, Steps

VISITS = st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(0.1, 3.0), st.floats(0.1, 4.0), st.booleans()), min_size=1, max_size=25)


@given(VISITS, st.integers(1, 3))
def test_a_line_never_lets_in_more_than_there_are_places_and_gets_all_back(visits: list[tuple[float, float, float, bool]], size: int) -> None:
    simulation = Simulation()
    line, inside, most = Line(simulation, size), [0], [0]

    def visitor(patience: float, stay: float) -> Steps:
        if not (yield from line.enter(patience)):
            return
        try:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            yield stay
        finally:
            inside[0] -= 1
            line.leave()

    def start(given: tuple[float, float, float, bool]) -> None:
        _, patience, stay, dies = given
        process = simulation.spawn(visitor(patience, stay))
        if dies:
            simulation.after(patience / 2, _kill, process)

    for visit in visits:
        simulation.after(visit[0], start, visit)
    simulation.run_until(200.0)
    assert most[0] <= size
    assert (inside[0], line.taken, line.waiting) == (0, 0, 0)


def _kill(process: Process) -> None:
    process.kill(None)


def test_those_who_wait_are_served_in_the_order_they_came() -> None:
    simulation = Simulation()
    line, served = Line(simulation, 1), list[int]()

    def visitor(number: int) -> Steps:
        yield number * 0.01
        yield from line.enter(60.0)
        served.append(number)
        yield 1.0
        line.leave()

    for number in (3, 0, 2, 1):
        simulation.spawn(visitor(number))
    simulation.run_until(60.0)
    assert served == [0, 1, 2, 3]


def outcomes(simulation: Simulation, *steps: Steps) -> list[object]:
    """What each process ended with."""
    processes = [simulation.spawn(each) for each in steps]
    simulation.run_until(60.0)
    return [process.value for process in processes]


def test_a_full_queue_turns_requests_away() -> None:
    simulation = Simulation()
    workers = Workers(simulation, 1, 1)

    def request() -> Steps:
        yield from workers.enter()
        yield 5.0
        workers.leave()
        return "served"

    first, second, third = outcomes(simulation, request(), request(), request())
    assert (first, second) == ("served", "served")
    assert isinstance(third, SimulatedFailure)
    assert "request queue is full" in third.message


def pool_of(simulation: Simulation, size: int, *, room: int = 100) -> tuple[ConnectionPool, list[int]]:
    """A pool, and the count of connections its database has open."""
    opened = [0]

    def connect() -> Steps:
        if opened[0] >= room:
            raise SimulatedFailure("53300", "too many clients")
        opened[0] += 1
        yield 0.01

    def close() -> None:
        opened[0] -= 1

    return ConnectionPool(simulation, size, patience=2.0, connect=connect, close=close), opened


def using(pool: ConnectionPool, seconds: float) -> Steps:
    yield from pool.acquire()
    yield seconds
    pool.release()
    return "done"


def test_a_pool_opens_no_more_than_it_needs_and_keeps_what_is_idle() -> None:
    simulation = Simulation()
    pool, opened = pool_of(simulation, 4)
    assert outcomes(simulation, *(using(pool, 0.5) for _ in range(3))) == ["done"] * 3
    assert (pool.open, opened[0], pool.used) == (3, 3, 0)


def test_who_waits_too_long_for_a_connection_fails_and_is_counted() -> None:
    simulation = Simulation()
    pool, _ = pool_of(simulation, 1)
    kept, starved = outcomes(simulation, using(pool, 5.0), using(pool, 0.1))
    assert kept == "done"
    assert isinstance(starved, SimulatedFailure)
    assert (starved.error_type, pool.timeouts, pool.used) == ("PoolTimeout", 1, 0)


def test_a_refused_connection_is_the_requests_failure_and_holds_no_place() -> None:
    simulation = Simulation()
    pool, _ = pool_of(simulation, 3, room=1)
    first, second = outcomes(simulation, using(pool, 1.0), using(pool, 1.0))
    assert first == "done"
    assert isinstance(second, SimulatedFailure)
    assert (pool.used, pool.open) == (0, 1)


def test_a_smaller_pool_closes_what_is_too_much() -> None:
    simulation = Simulation()
    pool, opened = pool_of(simulation, 4)
    outcomes(simulation, *(using(pool, 0.5) for _ in range(4)))
    pool.resize(1)
    assert (pool.size, pool.open, opened[0]) == (1, 1, 1)


def test_a_row_is_held_by_one_and_a_patient_second_gets_it() -> None:
    simulation = Simulation()
    locks, got = RowLocks(simulation), list[tuple[str, float, bool]]()

    def transaction(name: str, patience: float) -> Steps:
        held = yield from locks.acquire("stock/0", patience)
        got.append((name, simulation.now, held))
        if held:
            yield 3.0
            locks.release("stock/0")

    for name, patience in (("a", 9.0), ("b", 1.0), ("c", 9.0)):
        simulation.spawn(transaction(name, patience))
    simulation.run_until(1.5)
    assert (locks.held, locks.waiting) == (1, 1)
    simulation.run_until(30.0)
    assert got == [("a", 0.0, True), ("b", 1.0, False), ("c", 3.0, True)]
    assert (locks.held, locks.waiting) == (0, 0)


@given(st.lists(st.floats(0.0, 20.0)))
def test_a_histogram_counts_every_measurement_in_its_bucket(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    assert histogram.count == len(values)
    assert histogram.sum == pytest.approx(sum(values))
    assert sum(histogram.counts[:6]) == sum(value <= 0.1 for value in values)
