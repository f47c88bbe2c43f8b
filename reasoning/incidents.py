"""Incidents: root causes followed through time, with hysteresis so that doubt neither opens nor closes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from schema.verdicts import DefectRef, Diagnosis, Incident, IncidentState


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

    @property
    def open(self) -> tuple[Incident, ...]:
        """Open incidents, newest first."""
        return tuple(sorted(self._open.values(), key=lambda incident: (-incident.opened_at, incident.id)))

    def restore(self, incidents: Sequence[Incident]) -> None:
        """Takes over open incidents at start."""
        self._open = {incident.cause: incident for incident in incidents if incident.state == IncidentState.OPEN}

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

    def follow(self, diagnosis: Diagnosis) -> tuple[Incident, ...]:
        """The incidents that changed."""
        causes = {cause.cause: cause for cause in diagnosis.root_causes}
        changed = []
        self._likely = {name: self._likely.get(name, 0) + 1 for name, cause in causes.items() if cause.probability >= self._settings.opens}
        for name, incident in sorted(self._open.items()):
            probability = causes[name].probability if name in causes else 0.0
            self._unlikely[name] = self._unlikely.get(name, 0) + 1 if probability < self._settings.closes else 0
            updated = replace(incident, probability=probability, peak_probability=max(incident.peak_probability, probability))
            if self._unlikely[name] >= self._settings.clearing:
                updated = replace(updated, state=IncidentState.RECOVERED, closed_at=diagnosis.at)
                del self._open[name], self._unlikely[name]
            else:
                self._open[name] = updated
            if updated.state != incident.state or abs(updated.probability - incident.probability) > 0.05:
                changed.append(updated)
        for name, windows in sorted(self._likely.items()):
            if windows >= self._settings.confirming and name not in self._open:
                cause = causes[name]
                opened = Incident(
                    f"{diagnosis.at}-{name.entity}-{name.defect}",
                    name,
                    IncidentState.OPEN,
                    diagnosis.at,
                    cause.onset,
                    None,
                    cause.probability,
                    cause.probability,
                    cause.explains,
                )
                self._open[name] = opened
                changed.append(opened)
        return tuple(changed)
