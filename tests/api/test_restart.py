"""A restart costs no belief: what was believed is believed again, what follows is believed as if nothing had happened."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from api.memory import memory_from
from api.persistence import MEMORY
from api.pipeline import Pipeline
from api.runtime import Runtime
from graph.memory_store import MemoryGraphStore
from graph.saved_state import pack
from graph.sqlite_store import SqliteGraphStore
from graph.store import StoreUnavailableError
from ingest.otlp.files import read_recording
from schema.batches import Batch
from schema.knowledge import CausalKnowledge
from schema.loader import load_knowledge
from schema.verdicts import Incident
from tests.api.recordings import SECOND, START, shop_lines, write_lines

SLOW_FROM = 330
PER_WINDOW = 2  # batches of one window of the recording
RESENT = 4 * PER_WINDOW  # those whose windows may not be closed yet


@pytest.fixture(scope="module")
def knowledge() -> CausalKnowledge:
    return load_knowledge()


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[Batch]:
    return list(read_recording([write_lines(tmp_path_factory.mktemp("shop") / "traces.jsonl", shop_lines(450, slow_from=SLOW_FROM, rate=2))]))


class Told:
    """A pipeline, and for each window what it said."""

    def __init__(self, knowledge: CausalKnowledge) -> None:
        self.pipeline = Pipeline(knowledge)
        self.said: dict[int, str] = {}
        self.incidents: dict[str, Incident] = {}

    def take(self, batches: list[Batch]) -> Told:
        for batch in batches:
            self.pipeline.add(batch)
            for step in self.pipeline.advance():
                self.said[step.diagnosis.at] = repr(step.diagnosis)
                self.incidents |= {incident.id: incident for incident in step.incidents}
        return self


# At these no request is under way: spans that wait for the rest of their request are not saved.
@pytest.mark.parametrize("stopped", [40, 120, 150, 170])
def test_a_pipeline_that_goes_on_elsewhere_says_the_same_of_every_window(stopped: int, knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    whole, before = Told(knowledge).take(batches), Told(knowledge).take(batches[:stopped])
    after = Told(knowledge)
    after.pipeline.restore(before.pipeline.graph.snapshot(), tuple(before.incidents.values()))
    after.pipeline.resume(memory_from(before.pipeline.memory().packed()))
    assert repr(after.pipeline.reasoner.diagnosis) == before.said[max(before.said)]
    after.take(batches[max(stopped - RESENT, 0) :])
    assert len(after.said) > 3
    assert after.said == {at: said for at, said in whole.said.items() if at > max(before.said)}
    assert after.pipeline.reasoner.incidents == whole.pipeline.reasoner.incidents


async def started(knowledge: CausalKnowledge, store: MemoryGraphStore) -> Runtime:
    runtime = Runtime(Pipeline(knowledge), store)
    await runtime.start()
    return runtime


async def test_the_first_verdict_after_a_restart_is_the_last_one_before_the_stop(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    store = MemoryGraphStore()
    runtime = await started(knowledge, store)
    for batch in batches[:150]:
        await runtime.take(batch)
    last = runtime.diagnosis
    await runtime.stop()
    again = await started(knowledge, store)
    assert repr(again.diagnosis) == repr(last)
    assert again.diagnosis_at(last.at) == again.diagnosis
    assert await anext(again.diagnoses()) == again.diagnosis
    assert again.status().durable_through == last.at
    await again.stop()


async def test_belief_is_saved_each_minute_so_that_a_kill_costs_no_more(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    store = MemoryGraphStore()
    runtime = await started(knowledge, store)
    for batch in batches[:100]:
        await runtime.take(batch)
    # No stop: the process is gone here.
    await runtime._keeper.close()
    saved = await store.load_state(MEMORY)
    for batch in batches[100:112]:
        await runtime.take(batch)
    assert await store.load_state(MEMORY) == saved
    assert saved is not None
    again = await started(knowledge, store)
    assert 0 < runtime.diagnosis.at - again.diagnosis.at <= 60 * SECOND
    await again.stop()


async def test_what_opens_is_saved_at_once(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    store = MemoryGraphStore()
    runtime = await started(knowledge, store)
    opened: list[Incident] = []
    for batch in batches:
        await runtime.take(batch)
        opened = list(await store.incidents())
        if opened:
            break
    assert opened
    saving = runtime._keeper._saving
    assert saving is not None
    await saving
    content = await store.load_state(MEMORY)
    assert content is not None
    assert memory_from(content).belief.at == opened[0].opened_at


async def test_an_incident_is_kept_with_its_evidence_and_what_it_takes_down(knowledge: CausalKnowledge, batches: list[Batch], tmp_path: Path) -> None:
    runtime = Runtime(Pipeline(knowledge), SqliteGraphStore(tmp_path / "whence.db"))
    await runtime.start()
    for batch in batches:
        await runtime.take(batch)
    held = runtime.pipeline.reasoner.incidents
    await runtime.stop()
    again = Runtime(Pipeline(knowledge), SqliteGraphStore(tmp_path / "whence.db"))
    await again.start()
    (kept,) = (each for each in await again.incidents(None, 10) if each.cause == held[0].cause)
    assert held[0].evidence
    assert (kept.evidence, kept.impacts, kept.symptoms) == (held[0].evidence, held[0].impacts, held[0].symptoms)
    assert max(each.weight for each in kept.evidence) > 0
    assert {each.condition.entity.kind for each in kept.impacts} >= {"service"}
    await again.stop()


class Slow(MemoryGraphStore):
    """Keeps a state when told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def save_state(self, name: str, content: bytes) -> None:
        await self.go_on.wait()
        await super().save_state(name, content)


async def test_what_opens_while_a_save_is_under_way_is_saved_after_it(knowledge: CausalKnowledge, batches: list[Batch]) -> None:
    store = Slow()
    runtime = await started(knowledge, store)
    for batch in batches:
        await runtime.take(batch)
        if await store.incidents():
            break
    saving = runtime._keeper._saving
    assert saving is not None
    assert not saving.done()
    store.go_on.set()
    await saving
    content = await store.load_state(MEMORY)
    assert content is not None
    assert memory_from(content).belief.at == (await store.incidents())[0].opened_at


class Refusing(MemoryGraphStore):
    """Keeps no state while `refusing`."""

    refusing = True

    async def save_state(self, name: str, content: bytes) -> None:
        if self.refusing:
            raise StoreUnavailableError("The disk is full: make room.")
        await super().save_state(name, content)


async def test_a_store_that_takes_no_state_does_not_stop_the_reasoning(
    knowledge: CausalKnowledge, batches: list[Batch], caplog: pytest.LogCaptureFixture
) -> None:
    runtime = await started(knowledge, Refusing())
    for batch in batches[:60]:
        await runtime.take(batch)
    assert runtime.diagnosis.at > START
    await runtime.stop()
    assert [told for told in caplog.messages if "could not be saved" in told and "make room" in told]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no archive at all", "it is damaged"),
        (pack({"belief": {"at": np.zeros(1)}}), "does not read"),
        (pack({}), "'belief' is missing"),
    ],
)
async def test_a_memory_that_can_not_be_read_is_told_and_whence_starts_with_empty_evidence(
    content: bytes, told: str, knowledge: CausalKnowledge, batches: list[Batch], caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryGraphStore()
    runtime = await started(knowledge, store)
    for batch in batches[:60]:
        await runtime.take(batch)
    await runtime.stop()
    await store.save_state(MEMORY, content)
    again = await started(knowledge, store)
    (line,) = caplog.messages
    assert told in line
    assert "Whence starts with empty evidence" in line
    assert again.diagnosis.at == 0
    assert again.status().entities == runtime.status().entities
    for batch in batches[60:100]:
        await again.take(batch)
    assert again.diagnosis.at > 0
    await again.stop()


async def test_telemetry_of_an_earlier_time_begins_anew_once_most_senders_agree(
    knowledge: CausalKnowledge, batches: list[Batch], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryGraphStore()
    runtime = await started(knowledge, store)
    for batch in batches[:60]:
        await runtime.take(batch)
    await runtime.stop()
    again = await started(knowledge, store)
    earlier = START - 7_200 * SECOND
    for batch in read_recording([write_lines(tmp_path / "earlier.jsonl", shop_lines(100, rate=1, start=earlier))]):
        await again.take(batch)
    assert earlier < again.diagnosis.at < START
    assert again.diagnosis_at(START).at == again.diagnosis.at
    assert [told for told in caplog.messages if "what is usual is learned anew" in told]
    await again.stop()
