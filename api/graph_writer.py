"""What the live graph learns, written to the store: structure and incidents at once, heartbeats each minute. While the store is away, writes wait in a journal."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from api.attribute_keeper import MOST_ENTITIES, AttributeKeeper
from api.heartbeats import Heartbeats
from api.late_store import Standing
from api.pipeline import Step
from graph.attribute_model import AttributeModel
from graph.journal import Journal
from graph.live import LiveGraph
from graph.store import GraphStore, StoreError, StoreUnavailableError
from graph.topology import RelationKey, StructureEvent
from graph.writing import Write, apply
from schema.identity import EntityRef
from schema.verdicts import EntityChange, IncidentState
from schema.windows import TelemetryWindow

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
APPEARED = frozenset({StructureEvent.ENTITY_APPEARED, StructureEvent.ENTITY_CHANGED, StructureEvent.RELATION_APPEARED})
BATCH = 5_000
STANDING = 1_000
Result = TypeVar("Result")
log = logging.getLogger("whence.store")


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """`patience`: seconds of the clock that a window waits for the store before its writes go to the journal. `retry`: seconds between attempts.

    `waiting`: how many changes may wait in memory where not even the journal takes them. `retention`: nanoseconds that the past is kept; 0: for good.
    `compacted`: how many intervals are forgotten at once. `attributed`: up to how many entities the estate has for the attributes of all to be kept.
    `changes`: how many changes to entities of one window are kept.
    """

    patience: float = 1.0
    retry: float = 2.0
    waiting: int = 1_000_000
    retention: int = 30 * DAY
    compacted: int = 50_000
    attributed: int = MOST_ENTITIES
    changes: int = 1_000


class GraphWriter:
    """Follows the pipeline's steps; one task of its own hands the writes to the store, in order.

    Once `follow` returns, what it was given is in the store or in the journal, unless `trouble` says why not.
    """

    def __init__(
        self,
        graph: LiveGraph,
        store: GraphStore,
        journal: Journal | None = None,
        *,
        limits: WriterLimits | None = None,
        model: AttributeModel | None = None,
    ) -> None:
        """`model`: of the attributes that are kept beside the estate; without one, none are."""
        self._graph = graph
        self._store = store
        self._journal = journal
        self._limits = limits or WriterLimits()
        self._heartbeats = Heartbeats(graph)
        self._attributes = None if model is None else AttributeKeeper(graph, model, most=self._limits.attributed)
        self._waiting: deque[Write] = deque()
        self._draining: asyncio.Task[None] | None = None
        self._concluded = asyncio.Event()
        self._nudge = asyncio.Event()
        self._journal_turn = asyncio.Lock()
        self._hangs = False
        self._diverged = False
        self._let_go: dict[EntityRef | RelationKey, int] = {}
        self._compacted_at = 0
        self._dropped: Counter[str] = Counter()
        self._trouble = ""
        self._held = False
        self._standing: Standing | None = None
        self.durable_through = 0
        self.compacted = 0

    @property
    def dropped(self) -> Mapping[str, int]:
        """Changes that never reached the store, by reason."""
        return dict(self._dropped)

    @property
    def trouble(self) -> str:
        """Why the store takes no writes, and where they wait; empty while it does."""
        if self._trouble and self.journalled:
            return f"{self._trouble} Writes wait in the journal: {self.journalled}."
        return self._trouble

    @property
    def journalled(self) -> int:
        """How many writes wait in the journal."""
        return self._journal.waiting if self._journal is not None else 0

    def know(self, model: AttributeModel) -> None:
        """Other attributes are to be kept from now on."""
        if self._attributes is not None:
            self._attributes.know(model)

    async def hold(self, reason: str) -> None:
        """Writes wait behind those of an earlier life until `begin`. Raises StoreError where the journal can't take them."""
        self._held, self._trouble = True, reason
        if self._journal is not None:
            await self._with_journal(self._journal.open)

    async def begin(self) -> None:
        """Hands the store what waits: what an earlier life left in the journal, and what was learnt before the store could be reached. Raises StoreError."""
        journal = self._journal
        try:
            if journal is not None and journal.exists:
                await self._with_journal(journal.open)
                if journal.waiting:
                    log.info("Writes that wait in the journal are written now: %d.", journal.waiting)
                    self._standing = Standing(await self._store.incidents(IncidentState.OPEN, STANDING))
            while await self._next():
                pass
        except BaseException:
            if journal is not None:
                await self._with_journal(journal.close)
            raise
        finally:
            self._standing = None
        self._held, self._trouble = False, ""

    async def follow(self, step: Step) -> None:
        """Writes a step. While the store does not answer at all, nobody waits for it twice."""
        self._note(step)
        self._heartbeats.note(step)
        if self._attributes is not None:
            self._attributes.note(step)
        await (self._spill() if self._held else self._settle())

    async def _settle(self) -> None:
        self._concluded.clear()
        task = self._drain()
        self._nudge.set()
        if self._hangs:
            self._trouble = self._trouble or "It does not answer."
        else:
            try:
                async with asyncio.timeout(self._limits.patience):
                    await self._concluded.wait()
            except TimeoutError:
                self._hangs = True
        if task.done():
            task.result()
        await self._spill()

    async def close(self) -> None:
        """Gives the store a last moment, then leaves what it did not take in the journal."""
        self._hangs = False
        if not self._held:
            await self._settle()
        if self._draining is not None:
            if not self._trouble:
                await asyncio.wait({self._draining}, timeout=self._limits.patience)
            self._draining.cancel()
            await asyncio.wait({self._draining})
        await self._spill()
        if self._waiting:
            log.warning("Writes that neither the store nor the journal takes are lost: %d.", sum(write.size for write in self._waiting))
        if self._journal is not None:
            await asyncio.to_thread(self._journal.close)

    def _note(self, step: Step) -> None:
        appeared = dict[EntityRef | RelationKey, None]()
        gone = dict[EntityRef | RelationKey, None]()
        for change in (*step.closed.changes, *step.expired):
            (appeared if change.event in APPEARED else gone)[change.relation or change.entity] = None
        keys = [what for what in appeared if isinstance(what, RelationKey)]
        # A store takes a relation only with both its ends, and the sighting of one is a sighting of them.
        refs = sorted({what for what in appeared if isinstance(what, EntityRef)}.union(end for key in keys for end in (key.source, key.target)))
        write = Write(
            step.closed.window.end,
            tuple(entity for ref in refs if (entity := self._graph.entity(ref)) is not None),
            tuple(relation for key in sorted(keys) if (relation := self._graph.relation(key)) is not None),
            tuple(what for what in gone if not self._holds(what)),
            max((change.at for change in step.expired), default=0),
            tuple(sorted(step.incidents, key=lambda incident: incident.id)),
            self._entity_changes(step.closed.window),
        )
        if sum(each.size for each in self._waiting) + write.size > self._limits.waiting:
            write = self._without_structure(write, "store_backlog_full")
        self._waiting.append(write)

    def _entity_changes(self, window: TelemetryWindow) -> tuple[EntityChange, ...]:
        found = dict.fromkeys(EntityChange(each.time, self._graph.ref(each.entity), each.kind, each.detail) for each in window.changes)
        if len(found) > self._limits.changes:
            self._dropped["store_entity_changes"] += len(found) - self._limits.changes
        return tuple(found)[: self._limits.changes]

    def _without_structure(self, write: Write, reason: str) -> Write:
        """Lets go of all but the incidents; once the store is back, it is compared with the live graph."""
        self._dropped[reason] += write.size - len(write.incidents)
        self._diverged = True
        for what in write.gone[: max(0, self._limits.waiting - len(self._let_go))]:
            self._let_go[what] = write.at
        return Write(write.through, incidents=write.incidents)

    def _holds(self, what: EntityRef | RelationKey) -> bool:
        return (self._graph.entity(what) if isinstance(what, EntityRef) else self._graph.relation(what)) is not None

    def _drain(self) -> asyncio.Task[None]:
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self._hand_over())
        return self._draining

    async def _hand_over(self) -> None:
        """Until all is written, however long the store is away."""
        while True:
            self._nudge.clear()
            try:
                while await self._next():
                    pass
                self._hangs = False
                self._concluded.set()
                await self._keep_up()
            except StoreUnavailableError as trouble:
                if not self._trouble:
                    log.warning("The store takes no writes, changes wait: %s", trouble)
                self._trouble, self._hangs = f"{trouble}", False
                self._concluded.set()
                await self._nudged()
                continue
            if self._waiting or self.journalled:
                continue
            if self._trouble:
                log.warning("The store takes writes again; what waited is written.")
            self._trouble = ""
            return

    async def _nudged(self) -> None:
        """Until the next window, or until it is time to try again."""
        try:
            async with asyncio.timeout(self._limits.retry):
                await self._nudge.wait()
        except TimeoutError:
            return

    async def _next(self) -> bool:
        """Writes what waits longest: the journal's before that in memory. False where nothing waits."""
        if (journal := self._journal) is not None and journal.waiting:
            if (first := await self._with_journal(journal.first)) is not None:
                await self._apply(first[1])
                await self._with_journal(lambda: journal.drop(first[0]))
            return True
        if not self._waiting:
            return False
        write = self._waiting[0]
        await self._apply(write)
        # Meanwhile it may have gone to the journal, too; then it is written once more, which changes nothing.
        if self._waiting and self._waiting[0] is write:
            self._waiting.popleft()
        return True

    async def _with_journal(self, work: Callable[[], Result]) -> Result:
        async with self._journal_turn:
            return await asyncio.to_thread(work)

    async def _apply(self, write: Write) -> None:
        if self._standing is not None:
            write = replace(write, incidents=self._standing.joined(write.incidents))
        try:
            await apply(self._store, write)
        except StoreUnavailableError:
            raise
        except StoreError as refused:
            # Another writer was faster, or something was lost: the next comparison brings the store up to date.
            self._dropped["store_refused"] += write.size
            self._diverged = True
            log.warning("The store refuses a write: %s", refused)
        self.durable_through = max(self.durable_through, write.through)

    async def _spill(self) -> None:
        """What waits in memory goes to the journal, as far as that takes it."""
        journal = self._journal
        if journal is None:
            return
        async with self._journal_turn:
            writes = [write for write in self._waiting if write.size]
            if not writes:
                return
            try:
                taken = await asyncio.to_thread(journal.append, writes)
            except StoreUnavailableError as trouble:
                log.warning("The journal takes no writes either, changes wait in memory: %s", trouble)
                return
            kept = {id(write) for write in self._waiting}.difference(id(write) for write in writes[:taken])
            full = {id(write) for write in writes[taken:]}
            left = [self._without_structure(write, "store_journal_full") if id(write) in full else write for write in self._waiting if id(write) in kept]
            self._waiting = deque(write for write in left if write.size)

    async def _keep_up(self) -> None:
        """What needs no journal: it is said again if the store misses it."""
        if self._diverged:
            await self._compare()
            self._diverged = False
            if self._attributes is not None:
                self._attributes.compare()
        await self._heartbeats.beat(self._store, self._tell_attributes)
        at = self._graph.at
        if self._limits.retention and not 0 <= at - self._compacted_at < HOUR:
            count = await self._store.compact(at - self._limits.retention, self._limits.compacted)
            self.compacted += count
            # One that was cut short goes on with the next window.
            self._compacted_at = at if count < self._limits.compacted else 0
        if self._attributes is not None:
            await self._attributes.keep(self._store, lambda: bool(self._waiting))

    def _tell_attributes(self, missing: Sequence[EntityRef | RelationKey]) -> None:
        if self._attributes is not None:
            for what in missing:
                self._attributes.tell(what)

    async def _compare(self) -> None:
        """Makes the store hold what the live graph holds, and let go of what that let go of."""
        log.warning("Changes were lost on the way to the store: it is brought up to date with the live graph. When they happened is lost.")
        live, let_go = self._graph.snapshot(), dict(self._let_go)
        for start in range(0, len(live.entities), BATCH):
            await self._store.upsert_entities(live.entities[start : start + BATCH])
        for start in range(0, len(live.relations), BATCH):
            await self._apply(Write(0, relations=live.relations[start : start + BATCH]))
        gone = tuple(what for what in let_go if not self._holds(what))
        if gone:
            await apply(self._store, Write(0, gone=gone, at=max(let_go.values())))
        for what in let_go:
            self._let_go.pop(what, None)
