"""Nodes with cores and containers that share them: processor sharing, CPU limits enforced by quota and period, memory.

The work of a container's threads advances together (processor sharing), so a container keeps one clock of work done per thread and
a heap of the readings at which its pieces of work end. A container may run `limit` core-seconds in each PERIOD (the kernel's CFS
quota), then it is throttled to the period's end. When a node's threads want more than its cores, containers share by weight.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from demo.simulation import Signal, Simulation, Steps

PERIOD = 0.1
TINY = 1e-9


class Node:
    """A machine. `system_cores`: what its own daemons use, all the time."""

    def __init__(self, simulation: Simulation, name: str, cluster: str, *, cores: float, memory: float, data: bool = False, system_cores: float = 0.15) -> None:
        self.simulation = simulation
        self.name = name
        self.cluster = cluster
        self.cores = cores
        self.memory = memory
        self.data = data
        self.system_cores = system_cores
        self.up = True
        self.ready = True
        self.containers: list[Container] = []
        self._demand = 0.0
        self._crowded = False

    @property
    def cpu_seconds(self) -> float:
        """Core-seconds of work done on it so far, its own daemons' included."""
        return self.system_cores * self.simulation.now + sum(container.cpu_seconds_now() for container in self.containers)

    @property
    def memory_used(self) -> float:
        """MiB."""
        return 0.12 * self.memory + sum(container.memory_used for container in self.containers)

    def demand_changed(self, container: Container, before: float) -> None:
        """Gives every container its share of the cores after one wants more or less."""
        self._demand = max(self._demand + container.demand - before, 0.0)
        free = self.cores - self.system_cores
        crowded = self._demand > free + TINY
        if not crowded and not self._crowded:
            container.run_at(container.demand)
            return
        self._crowded = crowded
        busy = [each for each in self.containers if each.demand > 0 or each.rate > 0]
        for each, cores in zip(busy, share_cores([each.demand for each in busy], [each.weight for each in busy], free), strict=True):
            each.run_at(cores)

    def place(self, container: Container) -> None:
        """A container comes to run here."""
        self.containers.append(container)

    def remove(self, container: Container) -> None:
        """A container is gone."""
        container.stop_work()
        self.containers.remove(container)


def share_cores(demands: Sequence[float], weights: Sequence[float], cores: float) -> list[float]:
    """Max-min fair shares by weight: nobody gets more than it wants, what is left over goes to those who want more."""
    shares = [0.0] * len(demands)
    open_to = sorted(range(len(demands)), key=lambda place: demands[place] / weights[place])
    weight_left, cores_left = sum(weights), cores
    for place in open_to:
        shares[place] = min(demands[place], cores_left * weights[place] / weight_left)
        cores_left -= shares[place]
        weight_left -= weights[place]
    return shares


class Container:
    """A running container. `limit`: cores by quota, None without one; `weight`: its CPU request; memory in MiB."""

    def __init__(self, node: Node, name: str, *, limit: float | None, weight: float, memory_limit: float, memory_base: float) -> None:
        self.simulation = node.simulation
        self.node = node
        self.name = name
        self.limit = limit
        self.weight = weight
        self.memory_limit = memory_limit
        self.memory_base = memory_base
        self.memory_grown = 0.0
        self.memory_held = 0.0
        self.slowness = 1.0
        self.demand = 0.0
        self.rate = 0.0
        self.cpu_seconds = 0.0
        self.periods = 0
        self.throttled_periods = 0
        self._work: list[tuple[float, int, Signal]] = []
        self._order = 0
        self._done = 0.0  # work done per thread since the container started
        self._since = self.simulation.now
        self._period_start = self.simulation.now
        self._used = 0.0
        self._throttled = False
        self._plan = 0
        node.place(self)

    @property
    def memory_used(self) -> float:
        """MiB."""
        return self.memory_base + self.memory_grown + self.memory_held

    def work(self, cpu_seconds: float) -> Steps:
        """A thread's work of so many core-seconds, at the container's present slowness."""
        self._advance()
        self._order += 1
        end = Signal(self.simulation)
        heapq.heappush(self._work, (self._done + cpu_seconds * self.slowness, self._order, end))
        self._set_demand()
        yield end

    def set_limit(self, cores: float) -> None:
        """Resizes the CPU limit in place."""
        self._advance()
        self.limit = cores
        self._set_demand()

    def stop_work(self) -> None:
        """Forgets all work under way, as when the process dies."""
        self._advance()
        self._work.clear()
        self._throttled = False
        self._set_demand()

    def cpu_seconds_now(self) -> float:
        """Core-seconds used so far."""
        self._advance()
        return self.cpu_seconds

    def run_at(self, cores: float) -> None:
        """The node gives it so many cores from now on."""
        self._advance()
        self.rate = cores
        self._plan_next()

    def _set_demand(self) -> None:
        before = self.demand
        self.demand = 0.0 if self._throttled else float(len(self._work))
        self.node.demand_changed(self, before)

    def _advance(self) -> None:
        now = self.simulation.now
        elapsed, self._since = now - self._since, now
        if elapsed <= 0:
            return
        did = self.rate * elapsed
        if self._work:
            self._done += did / len(self._work)
        self.cpu_seconds += did
        passed = math.floor((now - self._period_start) / PERIOD + TINY)
        if passed <= 0:
            self._used += did
            return
        if did > 0 or self._used > 0:
            self.periods += passed if did > 0 else 1
        self._period_start += passed * PERIOD
        self._used = min(did, self.rate * max(now - self._period_start, 0.0))

    def _plan_next(self) -> None:
        self._plan += 1
        if self._throttled:
            self._wake_in(self._period_start + PERIOD - self.simulation.now)
            return
        if not self._work or self.rate <= 0:
            return
        wait = max(self._work[0][0] - self._done, 0.0) * len(self._work) / self.rate
        if self.limit is not None:
            to_period_end = self._period_start + PERIOD - self.simulation.now
            to_quota = max(self.limit * PERIOD - self._used, 0.0) / self.rate
            if self.rate > self.limit or to_quota < to_period_end - TINY:  # below its limit it may still have run faster earlier in the period
                wait = min(wait, to_quota, to_period_end)
        self._wake_in(wait)

    def _wake_in(self, seconds: float) -> None:
        self.simulation.after(max(seconds, 0.0), self._wake, self._plan)

    def _wake(self, plan: int) -> None:
        if plan != self._plan:
            return
        self._advance()
        while self._work and self._work[0][0] <= self._done + TINY:
            heapq.heappop(self._work)[2].fire()
        self._throttle()
        self._set_demand()

    def _throttle(self) -> None:
        spent = self.limit is not None and self._used >= self.limit * PERIOD - TINY
        if spent and self._work and not self._throttled:
            self.throttled_periods += 1
            self._throttled = True
        elif not spent:
            self._throttled = False
