"""What hangs together and was solved together, and which cluster is in which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reasoning.native import compiled
from reasoning.regions import Region
from schema.batches import Int32

ALONE, GATHERED = -1, -2  # instead of a family's number; the latter only while families are ended


@dataclass(frozen=True, slots=True)
class Family:
    """Clusters that hang together, Int32[k] ascending, and what of them was solved exactly: one region, or several where it was too wide."""

    members: Int32
    regions: tuple[Region, ...]
    exact: bool


class Families:
    """No cluster is in two. of: Int32[c], a number for the family of each cluster, -1 where there is none."""

    def __init__(self, clusters: int) -> None:
        self.of: Int32 = np.full(clusters, ALONE, np.int32)
        self._after: Int32 = np.zeros(clusters, np.int32)  # in each family round and round
        self._families: dict[int, Family] = {}
        self._next = 0

    def __iter__(self) -> Iterator[Family]:
        """The families, the oldest first."""
        return iter(self._families.values())

    @property
    def nbytes(self) -> int:
        """How much memory it takes to know which cluster is in which."""
        return self.of.nbytes + self._after.nbytes

    def add(self, family: Family) -> None:
        """One more; its clusters must be in none."""
        self._families[self._next] = family
        unite(self.of, self._after, family.members, self._next)
        self._next += 1

    def disband(self, clusters: Int32) -> Int32:
        """Ends the families of some clusters. Returns the clusters together with all that were in those, ascending, each once."""
        found, ended = part(self.of, self._after, clusters)
        for family in ended.tolist():
            del self._families[family]
        return found


@compiled
def unite(of: Int32, after: Int32, members: Int32, family: int) -> None:
    """Makes a family of clusters that are in none."""
    for at in range(members.size):
        of[members[at]] = family
        after[members[at - 1]] = members[at]


@compiled
def part(of: Int32, after: Int32, clusters: Int32) -> tuple[Int32, Int32]:
    """Ends the families of some clusters. Returns what `Families.disband` does, and the numbers of those families."""
    found, ended = list(clusters[:0]), list(clusters[:0])
    for cluster in clusters:
        if of[cluster] == GATHERED:
            continue
        if of[cluster] != ALONE:
            ended.append(of[cluster])
        member = cluster
        while of[member] != GATHERED:
            in_one = of[member] != ALONE
            of[member] = GATHERED
            found.append(member)
            member = after[member] if in_one else member
    for cluster in found:
        of[cluster] = ALONE
    gathered = np.array(found)
    gathered.sort()
    return gathered, np.array(ended)


@compiled
def united(some: Int32, more: Int32) -> Int32:
    """Clusters of both, ascending, each once: np.union1d, which takes several times as long where they are few."""
    every = np.concatenate((some, more))
    every.sort()
    count = min(1, every.size)
    for at in range(1, every.size):
        if every[at] != every[at - 1]:
            every[count] = every[at]
            count += 1
    return every[:count].copy()
