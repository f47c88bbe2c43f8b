"""A store that could not be reached when Whence started: what it remembers and what was learnt without it become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from graph.live import LiveGraph
from graph.topology import Snapshot
from schema.verdicts import DefectRef, Incident, IncidentState


class Standing:
    """The open incident of each cause in a store, as writes are applied. Who could not know of one opened it a second time: it goes on as the first."""

    def __init__(self, incidents: Iterable[Incident]) -> None:
        self._open: dict[DefectRef, Incident] = {}
        for incident in sorted(incidents, key=lambda each: (each.opened_at, each.id)):
            self._open.setdefault(incident.cause, incident)

    def joined(self, incidents: Iterable[Incident]) -> tuple[Incident, ...]:
        """The incidents of a later write, under the identities that stand."""
        return tuple(self._joined(incident) for incident in incidents)

    def _joined(self, incident: Incident) -> Incident:
        standing = self._open.get(incident.cause)
        if standing is not None and standing.id != incident.id and standing.opened_at <= incident.opened_at:
            peak = max(standing.peak_probability, incident.peak_probability)
            incident = replace(
                incident,
                id=standing.id,
                opened_at=standing.opened_at,
                onset=standing.onset,
                peak_probability=peak,
                symptoms=tuple(sorted({*standing.symptoms, *incident.symptoms})),
                changes=standing.changes or incident.changes,
            )
        if incident.state == IncidentState.OPEN:
            self._open[incident.cause] = incident
        elif standing is not None and standing.id == incident.id:
            del self._open[incident.cause]
        return incident


def unknown_to(graph: LiveGraph, snapshot: Snapshot) -> Snapshot:
    """What the live graph does not hold of a stored estate."""
    return Snapshot(
        snapshot.at,
        tuple(entity for entity in snapshot.entities if graph.entity(entity.ref) is None),
        tuple(relation for relation in snapshot.relations if graph.relation(relation.key) is None),
    )
