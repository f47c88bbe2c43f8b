"""What the variables of an estate are called, without a table of all names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from reasoning.layout import Layout, Name
from schema.batches import Int32
from schema.identity import EntityRef
from schema.verdicts import DefectRef


class VariableIndex(Mapping[Name, int]):
    """What each of n names is called."""

    def __init__(self, names: tuple[Name, ...], first: Int32, find: Callable[[EntityRef], int | None], kinds: Mapping[str, Layout]) -> None:
        """first: the first variable of each entity by the graph's integer, -1 where it has none."""
        self._names = names
        self._find = find
        self._kinds = kinds
        self.first = first

    def __getitem__(self, name: Name) -> int:
        entity = self._find(name.entity)
        first = int(self.first[entity]) if entity is not None and entity < self.first.size else -1
        if first < 0:
            raise KeyError(name)
        layout = self._kinds[name.entity.kind]
        return first + (layout.defect_at[name.defect] if isinstance(name, DefectRef) else layout.condition_at[name.condition])

    def __iter__(self) -> Iterator[Name]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
