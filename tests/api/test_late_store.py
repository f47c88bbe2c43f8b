"""A store that is away when Whence starts: Whence works without it, and what it remembers is taken up when it answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from api.graph_writer import WriterLimits
from api.late_store import Standing
from api.memory import memory_from
from api.persistence import MEMORY
from api.pipeline import Pipeline
from api.runtime import Runtime
from graph.checking import check
from graph.journal import Journal
from graph.memory_store import MemoryGraphStore
from graph.store import StoreAwayError, StoreUnavailableError
from graph.topology import Entity
from ingest.otlp.files import read_recording
from schema.batches import Batch
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge
from schema.loader import load_knowledge
from schema.verdicts import DefectRef, Incident, IncidentState
from tests.api.recordings import START, shop_lines, write_lines

CART = EntityRef("service", "c", "shop", "cart")
BEFORE = EntityRef("service", "c", "shop", "seen-before")
LIMITS = WriterLimits(retry=0.01)


def incident(name: str, state: IncidentState = IncidentState.OPEN, at: int = START, peak: float = 0.9) -> Incident:
    return Incident(name, DefectRef(CART, "slow_code"), state, at, None, None if state == IncidentState.OPEN else at + 9, 0.9, peak, ())


class AwayStore(MemoryGraphStore):
    """A store behind a network."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble: StoreUnavailableError | None = None

    async def ensure_schema(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture(scope="module")
def knowledge() -> CausalKnowledge:
    return load_knowledge()


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[Batch]:
    return list(read_recording([write_lines(tmp_path_factory.mktemp("shop") / "traces.jsonl", shop_lines(120, rate=1))]))


async def remembering(knowledge: CausalKnowledge, batches: list[Batch]) -> AwayStore:
    """A store that an earlier life left, with an open incident and an entity that nobody sees again."""
    store = AwayStore()
    runtime = Runtime(Pipeline(knowledge), store)
    await runtime.start()
    for batch in batches:
        await runtime.take(batch)
    await runtime.stop()
    await store.upsert_entities([Entity(BEFORE, {}, ("t",), START, runtime.diagnosis.at)])
    await store.save_incidents([incident("first")])
    return store


async def test_what_a_store_that_was_away_remembers_is_joined_with_what_was_learnt_without_it(
    knowledge: CausalKnowledge, batches: list[Batch], tmp_path: Path
) -> None:
    store = await remembering(knowledge, batches[:24])
    held, memory = await store.snapshot(), await store.load_state(MEMORY)
    store.trouble = StoreAwayError("Nobody answers: check that it runs.")
    runtime = Runtime(Pipeline(knowledge), store, Journal(tmp_path / "journal.db"), limits=LIMITS)
    await runtime.start()
    for batch in batches[24:]:
        await runtime.take(batch)
    status = runtime.status()
    assert (runtime.ready, status.entities > 0, status.durable_through) == (True, True, 0)
    assert status.store_trouble == f"Nobody answers: check that it runs. Writes wait in the journal: {status.journalled}."
    assert status.journalled > 0
    assert (await store.snapshot(), await store.load_state(MEMORY)) == (held, memory)
    learnt = {entity.ref for entity in runtime.pipeline.graph.entities()}
    store.trouble = None
    assert runtime._joining is not None
    await asyncio.wait_for(runtime._joining, 30)
    assert (runtime.status().store_trouble, runtime.status().journalled) == ("", 0)
    assert {entity.ref for entity in runtime.pipeline.graph.entities()} == learnt | {entity.ref for entity in held.entities}
    assert [each.id for each in runtime.pipeline.reasoner.incidents] == ["first"]
    assert (await check(store.records())).problems == ()
    assert memory is not None
    assert runtime.pipeline.memory().belief.at == memory_from(memory).belief.at
    await runtime.stop()


async def test_stopped_before_the_store_answers_nothing_of_it_is_replaced_and_the_next_start_writes_what_waited(
    knowledge: CausalKnowledge, batches: list[Batch], tmp_path: Path
) -> None:
    store = await remembering(knowledge, batches[:24])
    memory = await store.load_state(MEMORY)
    for trouble in (StoreAwayError("Nobody answers."), None):
        store.trouble = trouble
        runtime = Runtime(Pipeline(knowledge), store, Journal(tmp_path / "journal.db"), limits=WriterLimits(retry=60))
        await runtime.start()
        if trouble is not None:
            for batch in batches[24:]:
                await runtime.take(batch)
            await runtime.stop()
            assert await store.load_state(MEMORY) == memory
    assert {entity.ref for entity in runtime.pipeline.graph.entities()} > {BEFORE, CART}
    assert (await store.get(BEFORE)) is not None
    assert not (tmp_path / "journal.db").exists() or runtime.status().journalled == 0
    await runtime.stop()


async def test_a_store_that_answers_and_refuses_ends_the_start(knowledge: CausalKnowledge, tmp_path: Path) -> None:
    store = AwayStore()
    store.trouble = StoreUnavailableError("Wrong password.")
    with pytest.raises(StoreUnavailableError, match="Wrong password"):
        await Runtime(Pipeline(knowledge), store, Journal(tmp_path / "journal.db"), limits=LIMITS).start()


def test_an_incident_that_was_opened_again_without_knowing_goes_on_as_the_first() -> None:
    standing = Standing([incident("first")])
    again, over, anew = (incident("again", at=START + 5, peak=0.95), incident("again", IncidentState.RECOVERED, START + 5), incident("anew", at=START + 20))
    joined = standing.joined([again, over, anew])
    assert joined[0] == incident("first", peak=0.95)
    assert joined[1] == replace(incident("first", IncidentState.RECOVERED, START + 5, peak=0.95), opened_at=START)
    assert joined[2] == anew
