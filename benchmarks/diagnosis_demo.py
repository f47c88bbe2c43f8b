"""The demo's estate lived in event time, straight into the product's pipeline: faults over seeds, two at once, and hours in which nothing breaks.

An estate warms up once a seed and is forked for each fault, so every run is the run the demo would show and costs only what differs.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from random import Random
from typing import TypeVar

from api.pipeline import Pipeline, Step
from benchmarks.measure import progress
from demo.calm import live_an_ordinary_day
from demo.estate import DAY_OF_RECORDINGS, SECOND, STEP
from demo.faults import FAULTS, Fault, Truth
from demo.shop import SHOP
from demo.verdict import PATIENCE
from demo.world import World
from ingest.otlp.files import DECODERS
from schema.identity import EntityRef
from schema.loader import load_knowledge
from schema.verdicts import Diagnosis, RootCause

WARM_UP = 300.0  # as the demo's
BOTH_ASKED_AFTER = PATIENCE
PAIRS_A_SEED = 2
LIKELY = 0.5
SAME_EPISODE = 60 * SECOND
WINDOWS_BETWEEN_REPORTS = 720  # an hour
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class FaultRun:
    """What was said of one fault. `rank`: of the true entity and defect, `place_rank`: of the true entity or its service, whatever the defect; 0: not named.

    `seconds`: from the injection to the verdict; `said`: the probability of the first cause; `false`: incidents opened before anything was broken.
    """

    fault: str
    seed: int
    rank: int
    place_rank: int
    seconds: float
    said: float
    first: str
    false: int


@dataclass(frozen=True, slots=True)
class PairRun:
    """What was said of two faults at once. `ranks`: of each, by entity and defect."""

    faults: tuple[str, str]
    seed: int
    ranks: tuple[int, int]
    first: str


@dataclass(frozen=True, slots=True)
class DemoRuns:
    """What one seed's estates said."""

    faults: tuple[FaultRun, ...]
    pairs: tuple[PairRun, ...]


@dataclass(frozen=True, slots=True)
class QuietRun:
    """What was said while nothing was broken. `episodes`: spells in which one cause was likely; `incidents`: those opened."""

    seed: int
    hours: float
    episodes: tuple[str, ...]
    incidents: int


class LivedEstate:
    """An estate and the pipeline that hears all it sends."""

    def __init__(self, seed: int, start: int = DAY_OF_RECORDINGS) -> None:
        self.world = World(SHOP, seed, start * SECOND)
        self.pipeline = Pipeline(load_knowledge())
        self._decode = dict(DECODERS)

    @property
    def now(self) -> int:
        """Epoch nanoseconds."""
        return self.world.clock.at(self.world.simulation.now)

    def live(self, seconds: float) -> Iterator[Step]:
        """What follows from each window that closes meanwhile."""
        until = self.world.simulation.now + seconds
        while self.world.simulation.now < until - 1e-9:
            for request in self.world.run_until(self.world.simulation.now + STEP):
                self.pipeline.add(self._decode[type(request)](request)[0])
            yield from self.pipeline.advance()


def demo_runs(seed: int, *, faults: bool, pairs: bool) -> DemoRuns:
    """Every fault of the demo, and PAIRS_A_SEED pairs of them at once, each in a warm estate of its own."""
    estate = LivedEstate(seed)
    false = len({incident.id for step in estate.live(WARM_UP) for incident in step.incidents})
    singles = [_apart(partial(_fault_run, estate, fault, seed, false)) for fault in FAULTS] if faults else []
    doubles = _pair_runs(estate, seed) if pairs else []
    return DemoRuns(tuple(singles), tuple(doubles))


def quiet_hours(seed: int, start: int, hours: float) -> QuietRun:
    """An ordinary day from `start` (epoch seconds) on. The first WARM_UP seconds are not judged."""
    estate = LivedEstate(seed, start)
    live_an_ordinary_day(estate.world)
    for _ in estate.live(WARM_UP):
        pass
    last: dict[str, int] = {}
    episodes: list[str] = []
    incidents: set[str] = set()
    for window, step in enumerate(estate.live(hours * 3600.0)):
        if window % WINDOWS_BETWEEN_REPORTS == 0:
            progress(f"seed {seed} after {window / WINDOWS_BETWEEN_REPORTS:g} quiet hours: {episodes}")
        incidents |= {incident.id for incident in step.incidents}
        for cause in step.diagnosis.root_causes:
            if cause.probability < LIKELY:
                break
            name, at = _name(cause), step.diagnosis.at
            if at - last.get(name, -SAME_EPISODE) >= SAME_EPISODE:
                episodes.append(f"{name} {cause.probability:.2f} after {(at - start * SECOND) / SECOND / 60:.0f} min")
            last[name] = at
    return QuietRun(seed, hours, tuple(episodes), len(incidents))


def _fault_run(estate: LivedEstate, fault: Fault, seed: int, false: int) -> FaultRun:
    truth = fault.inject(estate.world, estate.world.random("fault"))
    injected = estate.now
    verdict = _verdict(estate, injected)
    causes = verdict.root_causes
    first = causes[0] if causes else None
    return FaultRun(
        fault.name,
        seed,
        rank=next((place for place, cause in enumerate(causes, start=1) if _is(cause, truth)), 0),
        place_rank=_place_rank(estate, causes, truth),
        seconds=(verdict.at - injected) / SECOND,
        said=first.probability if first is not None else 0.0,
        first=f"{_name(first)} {first.probability:.2f}" if first is not None else "nothing",
        false=false,
    )


def _verdict(estate: LivedEstate, injected: int) -> Diagnosis:
    """The diagnosis when the first incident after the injection opened, or else what stands when the demo's patience ends."""
    diagnosis = estate.pipeline.reasoner.diagnosis
    for step in estate.live(PATIENCE + 60.0):
        diagnosis = step.diagnosis
        if diagnosis.at >= injected + PATIENCE * SECOND or any(injected < incident.opened_at == diagnosis.at for incident in step.incidents):
            break
    return diagnosis


def _pair_runs(estate: LivedEstate, seed: int) -> list[PairRun]:
    every = list(combinations(FAULTS, 2))
    runs: list[PairRun] = []
    for pair in Random(f"{seed}/pairs").sample(every, len(every)):
        run = _apart(partial(_pair_run, estate, pair, seed)) if len(runs) < PAIRS_A_SEED else None
        runs += [run] if run is not None else []
    return runs


def _pair_run(estate: LivedEstate, pair: tuple[Fault, Fault], seed: int) -> PairRun | None:
    """None where both would break the same thing."""
    truths = [fault.inject(estate.world, estate.world.random(f"fault/{fault.name}")) for fault in pair]
    if set(truths[0].entities) & set(truths[1].entities):
        return None
    for _ in estate.live(BOTH_ASKED_AFTER):
        pass
    causes = estate.pipeline.reasoner.diagnosis.root_causes
    ranks = [next((place for place, cause in enumerate(causes, start=1) if _is(cause, truth)), 0) for truth in truths]
    first = ", ".join(f"{_name(cause)} {cause.probability:.2f}" for cause in causes[:2])
    return PairRun((pair[0].name, pair[1].name), seed, (ranks[0], ranks[1]), first or "nothing")


def _is(cause: RootCause, truth: Truth) -> bool:
    return cause.cause.defect == truth.defect and str(cause.cause.entity) in truth.entities


def _place_rank(estate: LivedEstate, causes: tuple[RootCause, ...], truth: Truth) -> int:
    """Where the true entity or its service stands among entities and services accused."""
    graph = estate.pipeline.graph
    true = {graph.service_of(ref) or ref for ref in map(EntityRef.parse, truth.entities)}
    places = list(dict.fromkeys(cause.service or cause.cause.entity for cause in causes))
    return next((rank for rank, place in enumerate(places, start=1) if place in true), 0)


def _name(cause: RootCause) -> str:
    return f"{cause.cause.entity} {cause.cause.defect}"


def _apart(work: Callable[[], Result]) -> Result:
    """Does it in a fork of this process, which stays as it is. Raises RuntimeError when the fork ends without a result."""
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sending.send(work()))
    process.start()
    sending.close()
    try:
        result: Result = receiving.recv()
    except EOFError:
        raise RuntimeError("A run ended without a result; what it said of that stands above.") from None
    finally:
        process.join()
    return result
