"""Incidents: root causes followed through time, with hysteresis so that doubt neither opens nor closes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from schema.verdicts import DefectRef, Diagnosis, Effect, EntityChange, Incident, IncidentState, RootCause

MOST_SYMPTOMS = 500
MOVES = 0.05


class IncidentContext(Protocol):
    """What an incident is kept with, asked for when it opens."""

    def impacts(self, cause: DefectRef) -> tuple[Effect, ...]:
        """What the cause takes down; empty where that can't be said."""

    def changes_before(self, at: int, cause: RootCause) -> tuple[EntityChange, ...]:
        """What was changed in the hour before, of what the cause is about."""


@dataclass(frozen=True, slots=True)
class IncidentSettings:
    """Open at `opens` for `confirming` windows; close below `closes` for `clearing` windows."""

    opens: float = 0.5
    closes: float = 0.2
    confirming: int = 3
    clearing: int = 12


@dataclass(frozen=True, slots=True)
class TrackerState:
    """For how many windows running each cause was likely, and each open incident unlikely; of open incidents by id the probability and its peak."""

    likely: Mapping[DefectRef, int]
    unlikely: Mapping[DefectRef, int]
    open: Mapping[str, tuple[float, float]]


class IncidentTracker:
    """Turns diagnoses into incidents; bounded by the causes a diagnosis lists."""

    def __init__(self, settings: IncidentSettings | None = None) -> None:
        self._settings = settings or IncidentSettings()
        self._open: dict[DefectRef, Incident] = {}
        self._likely: dict[DefectRef, int] = {}
        self._unlikely: dict[DefectRef, int] = {}
        self._assessed: set[str] = set()

    @property
    def open(self) -> tuple[Incident, ...]:
        """Open incidents, newest first."""
        return tuple(sorted(self._open.values(), key=lambda incident: (-incident.opened_at, incident.id)))

    def restore(self, incidents: Sequence[Incident]) -> None:
        """Takes over open incidents at start."""
        self._open = {incident.cause: incident for incident in incidents if incident.state == IncidentState.OPEN}
        self._assessed = {incident.id for incident in incidents if incident.impacts}

    def state(self) -> TrackerState:
        """What `resume` needs beside the open incidents, which a store keeps."""
        open_ = {incident.id: (incident.probability, incident.peak_probability) for incident in self._open.values()}
        return TrackerState(dict(self._likely), dict(self._unlikely), open_)

    def resume(self, state: TrackerState) -> None:
        """Goes on counting where another left off, after `restore`."""
        self._likely = dict(state.likely)
        self._unlikely = {cause: windows for cause, windows in state.unlikely.items() if cause in self._open}
        for cause, incident in self._open.items():
            probability, peak = state.open.get(incident.id, (incident.probability, 0.0))
            self._open[cause] = replace(incident, probability=probability, peak_probability=max(peak, incident.peak_probability))

    def follow(self, diagnosis: Diagnosis, context: IncidentContext) -> tuple[Incident, ...]:
        """The incidents that changed. What one takes down is asked for one a window: it may take a while, and many may open at once."""
        causes = {cause.cause: cause for cause in diagnosis.root_causes}
        changed: dict[DefectRef, Incident] = {}
        self._likely = {name: self._likely.get(name, 0) + 1 for name, cause in causes.items() if cause.probability >= self._settings.opens}
        for name, incident in sorted(self._open.items()):
            updated = self._updated(incident, causes.get(name), diagnosis.at)
            if updated.state == IncidentState.OPEN:
                self._open[name] = updated
            else:
                del self._open[name], self._unlikely[name]
            if _moved(incident, updated) or replace(incident, probability=updated.probability, peak_probability=updated.peak_probability) != updated:
                changed[name] = updated
        for name, windows in sorted(self._likely.items()):
            if windows >= self._settings.confirming and name not in self._open:
                self._open[name] = changed[name] = _opened(diagnosis.at, causes[name], context.changes_before(diagnosis.at, causes[name]))
        for name in sorted(name for name, incident in self._open.items() if incident.id not in self._assessed)[:1]:
            self._assessed.add(self._open[name].id)
            if impacts := context.impacts(name):
                self._open[name] = changed[name] = replace(self._open[name], impacts=impacts)
        self._assessed &= {incident.id for incident in self._open.values()}
        return tuple(changed.values())

    def _updated(self, incident: Incident, cause: RootCause | None, at: int) -> Incident:
        """An open incident after a window."""
        probability = cause.probability if cause is not None else 0.0
        self._unlikely[incident.cause] = self._unlikely.get(incident.cause, 0) + 1 if probability < self._settings.closes else 0
        updated = replace(incident, probability=probability, peak_probability=max(incident.peak_probability, probability))
        if self._unlikely[incident.cause] >= self._settings.clearing:
            return replace(updated, state=IncidentState.RECOVERED, closed_at=at)
        if cause is None or probability < self._settings.opens:
            return updated
        symptoms = incident.symptoms
        if len(symptoms) < MOST_SYMPTOMS:
            symptoms = tuple(sorted({*symptoms, *cause.explains}))[:MOST_SYMPTOMS]
        # Evidence moves with every window: it is kept when something else is kept anyway.
        if symptoms == incident.symptoms and not _moved(incident, updated) and incident.evidence:
            return updated
        return replace(updated, symptoms=symptoms, evidence=cause.evidence or incident.evidence)


def _moved(before: Incident, after: Incident) -> bool:
    return abs(after.probability - before.probability) > MOVES


def _opened(at: int, cause: RootCause, changes: tuple[EntityChange, ...]) -> Incident:
    return Incident(
        id=f"{at}-{cause.cause.entity}-{cause.cause.defect}",
        cause=cause.cause,
        state=IncidentState.OPEN,
        opened_at=at,
        onset=cause.onset,
        closed_at=None,
        probability=cause.probability,
        peak_probability=cause.probability,
        symptoms=cause.explains[:MOST_SYMPTOMS],
        evidence=cause.evidence,
        changes=changes,
    )
