"""A discrete-event kernel: processes are generators that sleep, wait for signals, and can be killed.

A process yields what it waits for: a number (seconds to sleep), a Signal (until it fires), or (Signal, seconds) with a patience;
the yield returns the signal's value, or TIMED_OUT. Everything at one instant happens in the order it was scheduled.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Final


class SimulatedFailure(Exception):  # noqa: N818  # a failure inside the simulated world, not an error of ours
    """Something failed in the simulated world. `error_type`: what a client library would name it."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message


class _TimedOut:
    """The value of a wait whose patience ran out."""


TIMED_OUT: Final = _TimedOut()
Steps = Generator[Any, Any, Any]


class Signal:
    """Fires once, with a value; whoever waits for it goes on."""

    __slots__ = ("_waiting", "fired", "simulation", "value")

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.fired = False
        self.value: Any = None
        self._waiting: list[tuple[Process, int]] = []

    def fire(self, value: Any = None) -> None:
        """Wakes everyone who waits. Firing again does nothing."""
        if self.fired:
            return
        self.fired, self.value = True, value
        for process, turn in self._waiting:
            self.simulation.soon(process.wake, (turn, value))
        self._waiting = []

    def wait(self, process: Process, turn: int) -> None:
        """Wakes `process` when this fires, if it is still in its `turn` then."""
        if self.fired:
            self.simulation.soon(process.wake, (turn, self.value))
        else:
            self._waiting.append((process, turn))


class Process(Signal):
    """A running generator. As a signal it fires at its end with what it returned, or with the SimulatedFailure it ended by."""

    __slots__ = ("_steps", "_turn", "ended")

    def __init__(self, simulation: Simulation, steps: Steps) -> None:
        super().__init__(simulation)
        self._steps = steps
        self._turn = 0
        self.ended = False

    def wake(self, call: tuple[int, Any]) -> None:
        """Goes on with a value, unless it has gone on for another reason since."""
        turn, value = call
        if self.ended or turn != self._turn:
            return
        self._turn += 1
        self.simulation.current = self
        try:
            wish = self._steps.send(value)
        except StopIteration as stop:
            self._end(stop.value)
        except SimulatedFailure as failure:
            self._end(failure)
        else:
            self._wait_for(wish)

    def kill(self, failure: SimulatedFailure | None) -> None:
        """Ends it where it stands; what it holds is given back by its finally clauses. Without a failure nobody is told."""
        if self.ended:
            return
        self.ended = True
        self._steps.close()
        if failure is not None:
            self.fire(failure)

    def _end(self, value: Any) -> None:
        self.ended = True
        self.fire(value)

    def _wait_for(self, wish: Any) -> None:
        if isinstance(wish, Signal):
            wish.wait(self, self._turn)
        elif isinstance(wish, tuple):
            wish[0].wait(self, self._turn)
            self.simulation.after(wish[1], self.wake, (self._turn, TIMED_OUT))
        else:
            self.simulation.after(wish, self.wake, (self._turn, None))


class Simulation:
    """The clock (seconds since the start) and what is yet to happen."""

    def __init__(self) -> None:
        self.now = 0.0
        self.current: Process | None = None
        self._later: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._soon: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._order = 0

    def soon(self, action: Callable[[Any], None], argument: Any = None) -> None:
        """Does it at this instant, after what is under way."""
        self._soon.append((action, argument))

    def after(self, delay: float, action: Callable[[Any], None], argument: Any = None) -> None:
        """Does it `delay` seconds from now."""
        self._order += 1
        heapq.heappush(self._later, (self.now + delay, self._order, action, argument))

    def spawn(self, steps: Steps) -> Process:
        """Starts a process at this instant."""
        process = Process(self, steps)
        self.soon(process.wake, (0, None))
        return process

    def run_until(self, instant: float) -> None:
        """Lets everything happen up to and including `instant`."""
        soon, later = self._soon, self._later
        while True:
            while soon:
                action, argument = soon.popleft()
                action(argument)
            if not later or later[0][0] > instant:
                break
            self.now, _, action, argument = heapq.heappop(later)
            action(argument)
        self.now = instant
