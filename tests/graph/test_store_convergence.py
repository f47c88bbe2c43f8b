"""Several writers of one estate: whatever the order in which their writes arrive, the same graph is left."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from graph.attribute_model import AttributeModel
from graph.attributes import EntityAttributes
from graph.memory_store import MemoryGraphStore
from graph.sqlite_store import SqliteGraphStore
from graph.store import GraphStore, StoreError
from graph.topology import Entity, Relation, RelationKey
from schema.identity import EntityRef
from schema.loader import load_knowledge

MS = 1_000_000
REFS = [EntityRef("service", "c", "shop", name) for name in "abc"]
MODEL = AttributeModel(load_knowledge())
KEYS = [RelationKey(REFS[0], "calls", REFS[1]), RelationKey(REFS[1], "calls", REFS[2])]


@dataclass(frozen=True)
class Sighting:
    """One writer sees a relation, or an entity alone, in a state of its own."""

    key: RelationKey | None
    ref: EntityRef
    version: str
    first: int
    last: int


@dataclass(frozen=True)
class Expiry:
    refs: tuple[EntityRef, ...]
    at: int


TIMES = st.integers(1, 12).map(lambda at: at * MS)
SIGHTINGS = st.builds(
    lambda key, ref, version, first, length: Sighting(key, ref, version, first, first + length * MS),
    st.none() | st.sampled_from(KEYS), st.sampled_from(REFS), st.sampled_from("123"), TIMES, st.integers(0, 6),
)  # fmt: skip
EXPIRIES = st.builds(Expiry, st.lists(st.sampled_from(REFS), min_size=1, max_size=2, unique=True).map(tuple), TIMES)
STEPS = st.lists(SIGHTINGS | EXPIRIES, max_size=6)


Step = Sighting | Expiry


def refs_of(step: Sighting) -> list[EntityRef]:
    return [step.ref] if step.key is None else [step.key.source, step.key.target]


async def perform(store: GraphStore, writer: str, step: Step) -> None:
    if isinstance(step, Expiry):
        await store.expire(step.refs, [], step.at)
        return
    refs = refs_of(step)
    # Who sees a relation sees both its ends.
    await store.upsert_entities([Entity(ref, {"version": step.version}, (writer,), step.first, step.last) for ref in refs])
    if step.key is not None:
        relation = Relation(step.key, (writer,), 0.9 if writer == "a" else 0.5, step.first, step.last, None)
        try:
            await store.upsert_relations([relation])
        except StoreError:
            return  # an end is gone for good: so is the relation
    attributes, over = [MODEL.of_entity(ref) for ref in refs], MODEL.of_relation(step.key) if step.key is not None else None
    await store.save_attributes([each for each in attributes if each is not None], [over] if over is not None else [])


async def left_by(steps: Sequence[tuple[str, Step]], store: GraphStore) -> object:
    for writer, step in steps:
        await perform(store, writer, step)
    left = await store.snapshot()
    return (
        [(each.ref, dict(each.attributes), each.sources, each.first_seen, each.last_seen) for each in left.entities],
        [(each.key, each.sources, each.confidence, each.first_seen, each.last_seen) for each in left.relations],
        list(await store.attributes(REFS)),
    )


def interleaved(one: Sequence[Step], other: Sequence[Step], random: Random) -> list[tuple[str, Step]]:
    """In an order of arrival that keeps each writer's own."""
    left = {"a": list(reversed(one)), "b": list(reversed(other))}
    mixed = []
    while any(left.values()):
        writer = random.choice([name for name, steps in left.items() if steps])
        mixed.append((writer, left[writer].pop()))
    return mixed


def held_by(steps: Sequence[Step]) -> list[EntityRef]:
    """What a writer's own graph holds in the end."""
    held = set[EntityRef]()
    for step in steps:
        held = held - set(step.refs) if isinstance(step, Expiry) else held | set(refs_of(step))
    return sorted(held)


@settings(max_examples=200, deadline=None)
@given(st.lists(SIGHTINGS, max_size=6), st.lists(SIGHTINGS, max_size=6), st.randoms(use_true_random=False))
def test_sightings_of_two_writers_leave_the_same_graph_in_any_interleaving(one: list[Step], other: list[Step], random: Random) -> None:
    async def check() -> None:
        in_turn = await left_by([("a", step) for step in one] + [("b", step) for step in other], MemoryGraphStore())
        assert await left_by(interleaved(one, other, random), MemoryGraphStore()) == in_turn

    asyncio.run(check())


@settings(max_examples=200, deadline=None)
@given(STEPS, STEPS, st.randoms(use_true_random=False))
def test_once_two_writers_see_again_what_they_hold_it_is_all_there_and_nothing_else(one: list[Step], other: list[Step], random: Random) -> None:
    async def check() -> None:
        store = MemoryGraphStore()
        await left_by(interleaved(one, other, random), store)
        held = {*held_by(one), *held_by(other)}
        for place, (writer, steps) in enumerate((("a", one), ("b", other))):
            for ref in held_by(steps):
                await perform(store, writer, Sighting(None, ref, "9", 0, (30 + place) * MS))
        # What one of them holds no more, and nobody saw since, its own expiry takes.
        await store.expire([ref for ref in REFS if ref not in held], [], 40 * MS)
        assert {(each.ref, each.attributes["version"]) for each in (await store.snapshot()).entities} == {(ref, "9") for ref in held}

    asyncio.run(check())


def of_its_own(steps: Sequence[Step]) -> list[Step]:
    """What a writer can do: it lets expire only what it holds, and not before it saw it."""
    seen: dict[EntityRef, int] = {}
    able = list[Step]()
    for step in steps:
        if isinstance(step, Expiry):
            gone = tuple(ref for ref in step.refs if seen.get(ref, step.at + 1) <= step.at)
            able.append(Expiry(gone, step.at))
            seen = {ref: last for ref, last in seen.items() if ref not in gone}
        else:
            seen |= {ref: max(step.last, seen.get(ref, 0)) for ref in refs_of(step)}
            able.append(step)
    return able


@settings(max_examples=60, deadline=None)
@given(STEPS.map(of_its_own), STEPS.map(of_its_own), st.randoms(use_true_random=False))
def test_whoever_lets_expire_what_the_other_still_sees_the_same_entities_are_left_in_any_interleaving(
    one: list[Step], other: list[Step], random: Random
) -> None:
    async def left(steps: Sequence[tuple[str, Step]], store: GraphStore) -> object:
        for writer, step in steps:
            await perform(store, writer, step)
        present = (await store.snapshot()).entities
        assert [each.entity for each in await store.attributes(REFS) if isinstance(each, EntityAttributes)] == [each.ref for each in present]
        return [(each.ref, dict(each.attributes), each.last_seen) for each in present]

    async def check(directory: Path) -> None:
        in_turn, mixed = [("a", step) for step in one] + [("b", step) for step in other], interleaved(one, other, random)
        expected = await left(in_turn, MemoryGraphStore())
        assert await left(mixed, MemoryGraphStore()) == expected
        embedded = SqliteGraphStore(directory / "whence.db")
        await embedded.ensure_schema()
        try:
            assert await left(mixed, embedded) == expected
        finally:
            await embedded.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(check(Path(directory)))
