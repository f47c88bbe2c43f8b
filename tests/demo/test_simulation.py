"""The discrete-event kernel: order, patience, and ends of processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from demo.simulation import TIMED_OUT, Signal, SimulatedFailure, Simulation, Steps


@given(st.lists(st.floats(0.0, 50.0), max_size=30))
def test_sleepers_wake_in_the_order_of_their_times_and_of_their_coming(delays: list[float]) -> None:
    simulation, woken = Simulation(), list[tuple[float, int]]()

    def sleeper(number: int, delay: float) -> Steps:
        yield delay
        woken.append((simulation.now, number))

    for number, delay in enumerate(delays):
        simulation.spawn(sleeper(number, delay))
    simulation.run_until(100.0)
    assert woken == sorted((delay, number) for number, delay in enumerate(delays))
    assert simulation.now == 100.0


def test_nothing_happens_after_the_instant_asked_for() -> None:
    simulation, woken = Simulation(), list[float]()

    def sleeper() -> Steps:
        yield 2.0
        woken.append(simulation.now)

    simulation.spawn(sleeper())
    simulation.run_until(1.999)
    assert woken == []
    simulation.run_until(2.0)
    assert woken == [2.0]


def test_a_signal_gives_its_value_to_all_who_wait_and_to_those_who_come_later() -> None:
    simulation = Simulation()
    signal, got = Signal(simulation), list[tuple[float, str]]()

    def waiter(before: float) -> Steps:
        yield before
        value = yield signal
        got.append((simulation.now, value))

    for before in (0.0, 0.5, 3.0):
        simulation.spawn(waiter(before))
    simulation.after(1.0, signal.fire, "here")
    simulation.run_until(5.0)
    assert got == [(1.0, "here"), (1.0, "here"), (3.0, "here")]


def test_patience_runs_out_and_the_late_signal_does_not_wake_twice() -> None:
    simulation = Simulation()
    signal, got = Signal(simulation), list[object]()

    def waiter() -> Steps:
        got.append((yield signal, 1.0))
        got.append((yield 5.0))
        got.append(simulation.now)

    simulation.spawn(waiter())
    simulation.after(2.0, signal.fire, "late")
    simulation.run_until(10.0)
    assert got == [TIMED_OUT, None, 6.0]


def test_a_killed_process_gives_back_what_it_holds_and_tells_who_waits_for_it() -> None:
    simulation, held, heard = Simulation(), list[str](), list[object]()
    failure = SimulatedFailure("ConnectionResetError", "connection reset by peer")

    def holder() -> Steps:
        held.append("taken")
        try:
            yield 100.0
        finally:
            held.append("given back")

    def waiter() -> Steps:
        heard.append((yield process))

    process = simulation.spawn(holder())
    simulation.spawn(waiter())
    simulation.run_until(1.0)
    process.kill(failure)
    simulation.run_until(200.0)
    assert held == ["taken", "given back"]
    assert heard == [failure]


def test_a_failure_inside_a_process_is_its_value() -> None:
    simulation, heard = Simulation(), list[object]()

    def fails() -> Steps:
        yield 1.0
        raise SimulatedFailure("500", "broken")

    def waiter() -> Steps:
        heard.append((yield simulation.spawn(fails())))

    simulation.spawn(waiter())
    simulation.run_until(2.0)
    assert isinstance(heard[0], SimulatedFailure)
    assert heard[0].error_type == "500"
