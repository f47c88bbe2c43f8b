"""The identities of the live graph in ascending order, for pages in either direction."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from graph.live import LiveGraph
from graph.topology import Entity
from schema.identity import EntityRef


class EntityIndex:
    """Follows the graph's table of identities, which only grows; those that have expired are passed over."""

    def __init__(self, graph: LiveGraph) -> None:
        self._graph = graph
        self._texts: list[str] = []
        self._refs: dict[str, EntityRef] = {}
        self._seen = 0

    def after(self, cursor: str | None, kind: str | None, text: str) -> Iterator[Entity]:
        """Present entities that match, ascending, after `cursor`."""
        self._follow()
        start = 0 if cursor is None else bisect_right(self._texts, cursor)
        return self._present(range(start, len(self._texts)), kind, text)

    def before(self, cursor: str | None, kind: str | None, text: str) -> Iterator[Entity]:
        """Present entities that match, descending, before `cursor`."""
        self._follow()
        end = len(self._texts) if cursor is None else bisect_left(self._texts, cursor)
        return self._present(range(end - 1, -1, -1), kind, text)

    def _present(self, places: range, kind: str | None, text: str) -> Iterator[Entity]:
        prefix = "" if kind is None else f"{kind}:"
        wanted = text.lower()
        for place in places:
            name = self._texts[place]
            if name.startswith(prefix) and wanted in name.lower():
                entity = self._graph.entity(self._refs[name])
                if entity is not None:
                    yield entity

    def _follow(self) -> None:
        fresh: dict[str, EntityRef] = {}
        while (ref := self._at(self._seen)) is not None:
            fresh[f"{ref}"] = ref
            self._seen += 1
        if fresh:
            self._refs.update(fresh)
            self._texts = sorted(self._refs)

    def _at(self, place: int) -> EntityRef | None:
        try:
            return self._graph.ref(place)
        except IndexError:
            return None
