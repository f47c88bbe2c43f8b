"""What hangs together and was solved together, and which cluster is in which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reasoning.regions import Region
from schema.batches import Int32


@dataclass(frozen=True, slots=True)
class Family:
    """Clusters that hang together, Int32[k] ascending, and what of them was solved exactly: one region, or several where it was too wide."""

    members: Int32
    regions: tuple[Region, ...]
    exact: bool


class Families:
    """No cluster is in two. of: Int32[c], a number for the family of each cluster, -1 where there is none."""

    def __init__(self, clusters: int) -> None:
        self.of: Int32 = np.full(clusters, -1, np.int32)
        self._families: dict[int, Family] = {}
        self._next = 0

    def __iter__(self) -> Iterator[Family]:
        """The families, the oldest first."""
        return iter(self._families.values())

    def add(self, family: Family) -> None:
        """One more; its clusters must be in none."""
        self._families[self._next] = family
        self.of[family.members] = self._next
        self._next += 1

    def disband(self, clusters: Int32) -> Int32:
        """Ends the families of some clusters. Returns the clusters together with all that were in those."""
        gone = [self._families.pop(family).members for family in np.unique(self.of[clusters]).tolist() if family >= 0]
        for members in gone:
            self.of[members] = -1
        return np.unique(np.concatenate((clusters, *gone)))
