"""The demo's course: the estate warms up, something breaks, Whence is asked again and again until there is a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from api.client import (
    Account,
    Diagnosis,
    Impact,
    Incident,
    Intervention,
    QueryRefusedError,
    Relation,
    RootCause,
    ServerUnreachableError,
    WhatIf,
    WhenceClient,
)
from demo.processes import DemoError
from demo.verdict import SECOND, Injection, Verdict, verdict_of

ASK_EVERY = 0.25
STALLED_AFTER = 90.0
CALLS = "calls"
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to see. Times are epoch nanoseconds; `visits_per_second`: of event time, at the entry."""

    started_at: int = 0
    now: int = 0
    visits_per_second: float = 0.0
    injection: Injection | None = None
    diagnosis: Diagnosis | None = None
    calls: tuple[Relation, ...] = ()
    incidents: tuple[Incident, ...] = ()


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the leading cause takes down, what would change without it, and why it is believed."""

    impact: Impact | None = None
    without: WhatIf | None = None
    account: Account | None = None


class Audience(Protocol):
    """Watches."""

    def watch(self, scene: Scene) -> None:
        """Sees the next scene."""

    def hear(self, verdict: Verdict, outlook: Outlook) -> None:
        """Hears the verdict."""


class SaidByEstate(Protocol):
    """The running estate, as far as the demo needs it."""

    def take(self) -> list[dict[str, Any]]:
        """What it said since. Raises DemoError when it is no longer there."""

    def go_at(self, speed: float) -> None:
        """Changes its pace."""


@dataclass(slots=True)
class Course:
    """One run, followed. `entry`: identity of the service visitors come to, empty when nobody watches the calls; `check` raises DemoError when the server is gone."""

    client: WhenceClient
    estate: SaidByEstate
    audience: Audience
    fault: str
    seed: int
    entry: str
    check: Callable[[], None]
    speed_after_injection: float = 0.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    scene: Scene = field(default_factory=Scene)
    _visits: int = 0
    _answered_at: float = 0.0

    def to_verdict(self) -> Verdict:
        """Follows the run until Whence has a verdict. Raises DemoError, ServerUnreachableError, QueryRefusedError."""
        moved_at, moved = self.clock(), (0, 0)
        self._answered_at = moved_at
        while True:
            self.look()
            diagnosed = self.scene.diagnosis.at if self.scene.diagnosis is not None and self.scene.diagnosis.at is not None else 0
            if self.scene.injection is not None:
                verdict = verdict_of(self.scene.injection, diagnosed, self.scene.incidents, self._causes_at)
                if verdict is not None:
                    self.audience.hear(verdict, self._patiently(partial(self._outlook, verdict)))
                    return verdict
            if (self.scene.now, diagnosed) != moved:
                moved_at, moved = self.clock(), (self.scene.now, diagnosed)
            if self.clock() - moved_at > STALLED_AFTER:
                raise DemoError(f"Nothing moved for {STALLED_AFTER:g} s: the estate stands at {self.scene.now}, the diagnosis at {diagnosed}.")
            self.sleep(ASK_EVERY)

    def look(self) -> None:
        """Sees what happened since and shows it. Raises DemoError, ServerUnreachableError, QueryRefusedError."""
        self.check()
        for said in self.estate.take():
            self._note(said)
        try:
            diagnosis, incidents, calls = self.client.diagnosis(first=6), self.client.incidents(first=50), self._calls()
        except ServerUnreachableError:
            if self.clock() - self._answered_at > STALLED_AFTER:
                raise
            return  # busy with what the estate sends: it will answer the next time
        self._answered_at = self.clock()
        self.scene = replace(self.scene, diagnosis=diagnosis, incidents=incidents, calls=calls)
        self.audience.watch(self.scene)

    def _note(self, said: dict[str, Any]) -> None:
        at = int(said["at"])
        if said["event"] == "started":
            self.scene = replace(self.scene, started_at=at, now=at)
        elif said["event"] == "injected":
            self.scene = replace(self.scene, injection=Injection(self.fault, at, tuple(said["entities"]), said["defect"], self.seed))
            self.estate.go_at(self.speed_after_injection)
        elif said["event"] == "progress":
            rate = (said["visits"] - self._visits) * SECOND / max(at - self.scene.now, 1)
            smooth = rate if not self.scene.visits_per_second else 0.9 * self.scene.visits_per_second + 0.1 * rate
            self._visits = said["visits"]
            self.scene = replace(self.scene, now=at, visits_per_second=smooth)

    def _calls(self) -> tuple[Relation, ...]:
        if not self.entry:
            return ()
        try:
            relations = self.client.topology(self.entry, depth=4).relations
        except QueryRefusedError:
            return ()  # it has not heard of the entry yet
        return tuple(each for each in relations if each.kind == CALLS)

    def _causes_at(self, at: int) -> tuple[RootCause, ...]:
        return self._patiently(lambda: self.client.root_causes(at=at))

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """Asks again while the server is busy with what the estate sends."""
        since = self.clock()
        while True:
            try:
                return ask()
            except ServerUnreachableError:
                self.check()
                if self.clock() - since > STALLED_AFTER:
                    raise
                self.sleep(ASK_EVERY)

    def _outlook(self, verdict: Verdict) -> Outlook:
        if not verdict.root_causes:
            return Outlook()
        leader = verdict.root_causes[0]
        impact = self.client.impact(leader.entity, defect=leader.defect)
        without = self.client.what_if([Intervention(leader.entity, leader.defect, value=False)])
        explained = self.client.explained(first=1)[1].causes
        return Outlook(impact, without, next((each.account for each in explained if (each.entity, each.defect) == (leader.entity, leader.defect)), None))
