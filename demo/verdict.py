"""When the demo takes Whence at its word: a rule that does not know the truth, and the comparison with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from api.client import Incident, RootCause, as_json

SECOND = 1_000_000_000
PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class Injection:
    """What was broken, when (epoch nanoseconds), and so what is true: `defect` of any of `entities`."""

    fault: str
    at: int
    entities: tuple[str, ...]
    defect: str
    seed: int

    def is_named_by(self, cause: RootCause | Incident) -> bool:
        """Whether that is the truth."""
        return cause.defect == self.defect and cause.entity in self.entities


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Whence said at `at`. `incident`: the one it opened then, None when patience ran out; `false_incidents`: those before anything was broken."""

    injection: Injection
    at: int
    root_causes: tuple[RootCause, ...]
    incident: Incident | None
    false_incidents: tuple[Incident, ...]

    @property
    def correct(self) -> bool:
        """Whether the true entity and defect stand first."""
        return bool(self.root_causes) and self.injection.is_named_by(self.root_causes[0])

    @property
    def seconds(self) -> float:
        """Event time from the injection to the verdict."""
        return round((self.at - self.injection.at) / SECOND, 3)

    def as_json(self) -> dict[str, Any]:
        """One JSON object."""
        injection = self.injection
        truth = {"name": injection.fault, "entities": list(injection.entities), "entity": injection.entities[0], "defect": injection.defect}
        return {
            "fault": truth | {"injected_at": injection.at, "seed": injection.seed},
            "root_causes": as_json(self.root_causes),
            "seconds_to_verdict": self.seconds,
            "verdict_correct": self.correct,
            "incident": as_json(self.incident),
            "false_incidents": as_json(self.false_incidents),
        }


def verdict_of(injection: Injection, diagnosed_at: int, incidents: Sequence[Incident], causes_at: Callable[[int], tuple[RootCause, ...]]) -> Verdict | None:
    """The verdict, if there is one yet: the root causes when the first incident after the injection opened, or after PATIENCE what stands then.

    `diagnosed_at`: event time of the latest diagnosis; `causes_at`: the root causes at an instant.
    """
    latest = injection.at + round(PATIENCE * SECOND)
    opened = min((each for each in incidents if injection.at < each.opened_at <= latest), key=lambda each: each.opened_at, default=None)
    if opened is None and diagnosed_at < latest:
        return None
    at = opened.opened_at if opened is not None else latest
    false = tuple(sorted((each for each in incidents if each.opened_at <= injection.at), key=lambda each: each.opened_at))
    return Verdict(injection, at, causes_at(at), opened, false)
