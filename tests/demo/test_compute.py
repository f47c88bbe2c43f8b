"""Cores shared by containers: work is conserved, no more than there is, no more than is allowed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.compute import Container, Node, share_cores
from demo.simulation import Simulation, Steps

WANTS = st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.05, 10.0)), min_size=1, max_size=12)
PIECES = st.lists(st.tuples(st.integers(0, 2), st.floats(0.0, 3.0), st.floats(0.001, 0.6)), min_size=1, max_size=25)
CORES = 2.0


@given(WANTS, st.floats(0.1, 16.0))
def test_shares_are_max_min_fair(wants: list[tuple[float, float]], cores: float) -> None:
    demands, weights = [each[0] for each in wants], [each[1] for each in wants]
    shares = share_cores(demands, weights, cores)
    assert sum(shares) <= cores + 1e-6
    assert sum(shares) == pytest.approx(min(cores, sum(demands)))
    assert all(share <= demand + 1e-9 for share, demand in zip(shares, demands, strict=True))
    for share, demand, weight in zip(shares, demands, weights, strict=True):
        if share < demand - 1e-6:  # who wants more has as much a weight as anybody
            assert all(share / weight >= other / heavier - 1e-6 for other, heavier in zip(shares, weights, strict=True))


class Machine:
    """A node with three containers; pieces of work (container, when, core-seconds) and when they ended."""

    def __init__(self, limits: tuple[float | None, ...]) -> None:
        self.simulation = Simulation()
        self.node = Node(self.simulation, "node-1", "here", cores=CORES, memory=4096.0, system_cores=0.0)
        self.containers = [Container(self.node, f"c{i}", limit=limit, weight=1.0 + i, memory_limit=512.0, memory_base=100.0) for i, limit in enumerate(limits)]
        self.ended: list[float] = []

    def give(self, container: int, at: float, cpu_seconds: float) -> None:
        def piece() -> Steps:
            yield at
            yield from self.containers[container].work(cpu_seconds)
            self.ended.append(self.simulation.now)

        self.simulation.spawn(piece())


@settings(max_examples=60)
@given(PIECES, st.sampled_from(((None, None, None), (0.5, None, 1.5), (0.2, 0.3, 0.4))))
def test_all_work_is_done_once(pieces: list[tuple[int, float, float]], limits: tuple[float | None, ...]) -> None:
    machine = Machine(limits)
    for piece in pieces:
        machine.give(*piece)
    machine.simulation.run_until(300.0)
    assert len(machine.ended) == len(pieces)
    for place, container in enumerate(machine.containers):
        given_to_it = sum(work for where, _, work in pieces if where == place)
        assert container.cpu_seconds_now() == pytest.approx(given_to_it, abs=1e-6)
    assert machine.node.cpu_seconds == pytest.approx(sum(work for _, _, work in pieces), abs=1e-6)


@settings(max_examples=60)
@given(PIECES, st.sampled_from(((None, None, None), (0.5, None, 1.5), (0.2, 0.3, 0.4))))
def test_neither_cores_nor_limits_are_exceeded(pieces: list[tuple[int, float, float]], limits: tuple[float | None, ...]) -> None:
    machine, step = Machine(limits), 0.1
    for piece in pieces:
        machine.give(*piece)
    before, whole = [0.0] * len(limits), 0.0
    for tick in range(1, 60):
        machine.simulation.run_until(tick * step)
        used = [container.cpu_seconds_now() for container in machine.containers]
        assert sum(used) - whole <= CORES * step + 1e-6
        for limit, now, last in zip(limits, used, before, strict=True):
            assert now - last <= (CORES if limit is None else limit) * step + 1e-6
        before, whole = used, sum(used)


def test_one_thread_alone_runs_at_the_speed_of_one_core() -> None:
    machine = Machine((None, None, None))
    machine.give(0, 0.0, 0.75)
    machine.simulation.run_until(10.0)
    assert machine.ended == [pytest.approx(0.75)]


def test_a_crowded_node_slows_everybody_in_proportion() -> None:
    machine = Machine((None, None, None))
    for _ in range(4):
        machine.give(0, 0.0, 0.5)
    machine.simulation.run_until(10.0)
    assert machine.ended == [pytest.approx(1.0)] * 4  # four threads on two cores


def test_a_limit_below_the_need_throttles() -> None:
    machine = Machine((0.2, None, None))
    machine.give(0, 0.0, 0.5)
    machine.simulation.run_until(10.0)
    assert machine.ended == [pytest.approx(2.4, abs=0.1)]  # a fifth of each period, until the last
    assert machine.containers[0].throttled_periods >= 20


def test_work_that_is_forgotten_frees_the_cores() -> None:
    machine = Machine((None, None, None))
    for _ in range(6):
        machine.give(0, 0.0, 50.0)
    machine.give(1, 1.0, 0.5)
    machine.simulation.after(1.0, lambda _: machine.containers[0].stop_work())
    machine.simulation.run_until(5.0)
    assert machine.ended == [pytest.approx(1.5, abs=1e-6)]
