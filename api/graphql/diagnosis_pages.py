"""The latest diagnosis as GraphQL types, filled once for all who ask for it: two hundred subscribers cost one."""

from __future__ import annotations

from api.graphql.types_verdicts import Diagnosis
from schema import verdicts


class DiagnosisPages:
    """Keeps the pages of one diagnosis, one for each number of root causes asked for; the next diagnosis takes their place."""

    def __init__(self) -> None:
        self._diagnosis: verdicts.Diagnosis | None = None
        self._pages: dict[int, Diagnosis] = {}

    def page(self, diagnosis: verdicts.Diagnosis, first: int) -> Diagnosis:
        """The diagnosis with its `first` root causes. Not to be changed: others read it too."""
        if diagnosis is not self._diagnosis:
            self._diagnosis, self._pages = diagnosis, {}
        if first not in self._pages:
            self._pages[first] = Diagnosis.of(diagnosis, first)
        return self._pages[first]
