"""The evidence engine: streams for everything a rule's detector can judge, one pass over the tables of each window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np

from graph.live import LiveGraph
from graph.saved_state import SavedStateError
from graph.topology import RelationKey
from reasoning.evidence import relations
from reasoning.evidence.behaviour import BehaviourStreams
from reasoning.evidence.coarse import COIN_WIDTH, CoarseShares, coarse_shares, coin_sums, worth_of
from reasoning.evidence.dependence import Weighed, used_once
from reasoning.evidence.detectors import LEVEL_DETECTORS, Judgements, judge_coins, judge_durations, judge_levels, judge_means
from reasoning.evidence.episodes import Episodes
from reasoning.evidence.onsets import HELD_ROWS, by_itself, coins_at_onsets, either, judged_at, levels_at_onsets, shared_onset, together
from reasoning.evidence.relations import live_attributes
from reasoning.evidence.rules import EvidenceSettings, rules_by_detector, tempered, tempered_rows
from reasoning.evidence.shadows import less_shadows
from reasoning.evidence.state import EvidenceMemory, EvidenceState
from reasoning.evidence.streams import SECOND, StreamTable
from reasoning.evidence.wording import observed
from reasoning.network import Bool
from schema.attributes import ATTRIBUTES
from schema.batches import Float64, Int32, Int64
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, ConditionRule
from schema.overrides import overridden
from schema.relations import RELATION_KINDS
from schema.verdicts import ConditionRef, Finding
from schema.windows import BIN_SECONDS, CallTable, RequestTable, SampleTable, TelemetryWindow

SECONDS = 1e9
LEAST_RATIO = 0.05
LOG_BINS = np.log(BIN_SECONDS)
DURATION_OF_BINS = np.stack([np.ones_like(BIN_SECONDS), BIN_SECONDS, BIN_SECONDS**2, LOG_BINS, LOG_BINS**2], axis=1)
DURATION_OF_BINS.setflags(write=False)
WANDER_OF_DEMAND = 0.1
OUTLIER = 16.0  # times the usual duration
STILL_THERE = 20 * SECOND
GONE = 90 * SECOND
PASSING = frozenset({"pod", "container"})
WANDER_OF_COARSE_LOG = 0.15
BEHAVIOUR = "behaviour"


class EvidenceEngine:
    """Keeps the streams; `observe` is called once a window, in order."""

    def __init__(self, knowledge: CausalKnowledge, graph: LiveGraph, settings: EvidenceSettings | None = None) -> None:
        self._graph = graph
        self._settings = settings or EvidenceSettings()
        self._rules = rules_by_detector(knowledge)
        self._overrides = tuple(each for each in knowledge.overrides if each.thresholds)
        streams = self._settings.streams
        self._coins = StreamTable(2, streams)
        self._durations = StreamTable(5, streams)
        self._demand = StreamTable(3, streams)
        self._coarse_coins = StreamTable(COIN_WIDTH, streams, kept=HELD_ROWS)
        self._coarse_durations = StreamTable(1, streams, levels=True, kept=HELD_ROWS)
        self._levels = StreamTable(1, streams, levels=True)
        self._relations = StreamTable(relations.WIDTH, streams)
        self._tables = {
            "coins": self._coins,
            "durations": self._durations,
            "demand": self._demand,
            "coarse_coins": self._coarse_coins,
            "coarse_durations": self._coarse_durations,
            "levels": self._levels,
            "relations": self._relations,
        }
        self._behaviour = BehaviourStreams(streams, self._settings.coin_worth)
        self._episodes = Episodes()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Streams not opened, by reason."""
        tables = {
            "error_streams_full": (self._coins, self._coarse_coins),
            "duration_streams_full": (self._durations, self._coarse_durations),
            "demand_streams_full": (self._demand,),
            "level_streams_full": (self._levels,),
            "relation_streams_full": (self._relations,),
        }
        counts = Counter({reason: sum(table.refused for table in kept) for reason, kept in tables.items()})
        counts["behaviour_streams_full"] = self._behaviour.refused
        return {reason: count for reason, count in sorted(counts.items()) if count}

    def memory(self) -> EvidenceMemory:
        """A copy of everything."""
        tables = {name: table.state() for name, table in self._tables.items()}
        return EvidenceMemory({**tables, BEHAVIOUR: self._behaviour.state()}, self._episodes.state())

    def restore(self, memory: EvidenceMemory) -> None:
        """Takes over a memory, less the streams that no rule looks at any more. Raises SavedStateError with nothing changed."""
        kept_by: dict[str, StreamTable | BehaviourStreams] = {**self._tables, BEHAVIOUR: self._behaviour}
        for name, streams in kept_by.items():
            if name not in memory.streams or not streams.fits(memory.streams[name]):
                raise SavedStateError(f"its {name.replace('_', ' ')} are of another Whence")
        for name, table in self._tables.items():
            kept = memory.streams[name]
            table.restore(kept.under([key if self._is_looked_at(name, key) else None for key in kept.keys]))
        self._behaviour.restore(memory.streams[BEHAVIOUR])
        self._episodes.restore(memory.episodes)

    def _is_looked_at(self, table: str, key: Hashable) -> bool:
        assert isinstance(key, tuple)
        if table == "relations":
            return key[1] in RELATION_KINDS
        if table == "levels":
            return self._level_rule(*key) is not None
        return any(self._has_rule(key[0], detector) for detector in (("busier", "quieter") if table == "demand" else key[1:]))

    def observe(self, window: TelemetryWindow) -> EvidenceState:
        """All findings as of the window's end."""
        now = window.end
        shares = self._coarse_shares(window.requests, window.calls)
        self._requests(now, window.requests, shares)
        self._calls(now, window.calls, window.requests, shares)
        self._behaviour.observe(now, window.behaviour)
        self._samples(now, window.samples)
        return self.conclude(now)

    def conclude(self, now: int) -> EvidenceState:
        """All findings as of event time `now`, the end of the last window; asked again, the same."""
        there = (finding for finding in used_once(self._findings(now), self._graph.service_of) if self._was_seen(finding.condition.entity, now - GONE))
        findings = sorted(self._episodes.date(now, there), key=lambda finding: (str(finding.condition.entity), finding.condition.condition))
        return EvidenceState(now, tuple(findings), self._live(now), dict(self._quiet(now)))

    def _coarse_shares(self, requests: RequestTable, calls: CallTable) -> CoarseShares:
        size = 1 + max(int(part.max(initial=0)) for part in (requests.entity, calls.source, calls.target))
        usual, streams = np.full(size, np.nan), self._coarse_durations
        for entity in requests.entity[~requests.detailed].tolist():
            row = streams.keys.get((entity, "slower"))
            usual[entity] = np.exp(streams.arrays.middle[row]) if row is not None else np.nan
        unseen = np.array([calls.relations[place] == "calls" for place in calls.relation.tolist()], np.bool_) & (calls.duration == 0)
        return coarse_shares(requests, calls, unseen, usual)

    def _requests(self, now: int, table: RequestTable, shares: CoarseShares) -> None:
        entities = table.entity.tolist()
        requests = table.requests.astype(np.float64)
        own_errors = np.where(table.detailed, table.own_errors, shares.own_errors[table.entity])
        for detector, counts in (("failing", table.errors), ("failing_own", own_errors)):
            for streams, chosen in ((self._coins, table.detailed), (self._coarse_coins, ~table.detailed)):
                sums = np.column_stack([counts, requests]) if streams is self._coins else coin_sums(counts.astype(np.float64), requests)
                streams.observe(self._rows(streams, table.entity[chosen].tolist(), detector), now, sums[chosen])
        self._observe_demand(now, entities, requests)
        self._observe_demand(now, *self._silent_pods(now, entities))
        detailed = table.detailed
        for detector, histogram in (("slower", table.duration_histogram), ("slower_own", table.own_histogram)):
            self._slow(now, table.entity[detailed], detector, histogram[detailed])
        coarse = ~detailed & (table.requests > 0)
        if coarse.any():
            for detector, mean in (("slower", shares.mean), ("slower_own", shares.own_mean)):
                rows = self._rows(self._coarse_durations, table.entity[coarse].tolist(), detector)
                self._coarse_durations.observe(rows, now, np.log(np.maximum(mean[table.entity[coarse]], 1e-6))[:, None])

    def _observe_demand(self, now: int, entities: list[int], requests: Float64) -> None:
        roots = np.sqrt(requests)
        judged = [self._demand.row((entity, "demand")) if self._has_rule(entity, "busier") or self._has_rule(entity, "quieter") else -1 for entity in entities]
        self._demand.observe(np.array(judged, np.int64), now, np.column_stack([np.ones_like(roots), roots, requests]))

    def _silent_pods(self, now: int, served: list[int]) -> tuple[list[int], Float64]:
        """Pods that served before, still exist by other accounts, and serve nothing while their service does: their silence is a reading."""
        busy = set(served)
        silent = []
        for key in self._demand.keys:
            assert isinstance(key, tuple)
            ref = self._graph.ref(key[0])
            if key[0] in busy or ref.kind != "pod":
                continue
            service = self._graph.service_of(ref)
            if self._was_seen(ref, now - STILL_THERE) and service is not None and self._graph.find(service) in busy:
                silent.append(key[0])
        return silent, np.zeros(len(silent))

    def _was_seen(self, ref: EntityRef, since: int) -> bool:
        """Of what comes and goes, what was not seen lately is gone: it can't be well or ill any more."""
        if ref.kind not in PASSING:
            return True
        entity = self._graph.entity(ref)
        return entity is not None and entity.last_seen > since

    def _slow(self, now: int, entity: Int32, detector: str, histogram: Int32) -> None:
        seen = histogram.any(axis=1)
        rows = self._rows(self._durations, entity[seen].tolist(), detector)
        sums = histogram[seen] @ DURATION_OF_BINS
        seconds = np.minimum(BIN_SECONDS, self._longest_believed(rows)[:, None])
        sums[:, 1], sums[:, 2] = (histogram[seen] * seconds).sum(axis=1), (histogram[seen] * seconds**2).sum(axis=1)
        self._durations.observe(rows, now, sums)

    def _longest_believed(self, rows: Int64) -> Float64:
        """Seconds: one request a hundred times slower than all others is an accident, and must not make a mean."""
        baseline = self._durations.arrays.baseline[rows]
        known = (baseline[:, 0] >= self._settings.least_requests) & (rows >= 0)
        return np.where(known, OUTLIER * baseline[:, 1] / np.maximum(baseline[:, 0], 1.0), np.inf)

    def _calls(self, now: int, calls: CallTable, requests: RequestTable, shares: CoarseShares) -> None:
        if not len(calls.source):
            return
        kinds = [calls.relations[place] for place in calls.relation.tolist()]
        traverses = np.array([kind == "traverses" for kind in kinds])
        self._slow(now, calls.target[traverses], "gap_wider", calls.gap_histogram[traverses])
        size = 1 + max(int(calls.target.max()), int(calls.source.max()), int(requests.entity.max(initial=0)))
        time, errors = np.zeros(size), np.zeros(size)
        time[requests.entity], errors[requests.entity] = requests.duration / SECONDS, requests.errors
        into = np.bincount(calls.target, weights=np.where(traverses, 0, calls.calls), minlength=size)
        sums = np.empty((len(kinds), relations.WIDTH))
        sums[:, relations.CALLS] = calls.calls
        # The target answers for all the caller waits but the way there and back; the path answers for that.
        sums[:, relations.ANSWERED] = np.where(traverses, calls.gap, calls.duration - calls.gap) / SECONDS + shares.answered
        sums[:, relations.CARRYING] = np.where(calls.carrying > 0, calls.carrying, np.minimum(calls.calls, calls.source_requests))
        sums[:, relations.REQUESTS] = calls.source_requests
        sums[:, relations.FAILED_SOURCE] = calls.failed_source + shares.failed
        sums[:, relations.SOURCE_TIME] = time[calls.source]
        sums[:, relations.SOURCE_ERRORS] = errors[calls.source]
        sums[:, relations.WAITED] = calls.duration / SECONDS + shares.answered
        sums[:, relations.TARGET_CALLS] = into[calls.target]
        sums[:, relations.ERRORS] = calls.errors
        keys = zip(calls.source.tolist(), kinds, calls.target.tolist(), strict=True)
        rows = np.array([self._relations.row(key) for key in keys], np.int64)
        self._unanswered(now, calls, np.array([kind == "calls" for kind in kinds]), size)
        self._trust(rows, calls.source)
        self._relations.observe(rows, now, sums)

    def _unanswered(self, now: int, calls: CallTable, counts: Bool, size: int) -> None:
        """A failed call that the callee's own spans know nothing of never reached it."""
        lost = np.minimum(calls.errors, calls.calls - calls.answered)
        into = np.bincount(calls.target[counts], weights=calls.calls[counts], minlength=size)
        missed = np.bincount(calls.target[counts], weights=lost[counts], minlength=size)
        targets = np.flatnonzero(into)
        self._coins.observe(self._rows(self._coins, targets.tolist(), "unanswered"), now, np.column_stack([missed[targets], into[targets]]))

    def _trust(self, rows: Int64, source: Int32) -> None:
        """A relation's past is as normal as its caller was."""
        for row, entity in zip(rows.tolist(), source.tolist(), strict=True):
            streams = ((self._durations, "slower"), (self._coarse_durations, "slower"), (self._coins, "failing"), (self._coarse_coins, "failing"))
            lasts = [table.arrays.last[at] for table, detector in streams if (at := table.keys.get((entity, detector))) is not None]
            if row >= 0:
                self._relations.arrays.last[row] = max(lasts, default=0.0)

    def _samples(self, now: int, table: SampleTable) -> None:
        keys = [(entity, table.attributes[place]) for entity, place in zip(table.entity.tolist(), table.attribute.tolist(), strict=True)]
        rows = np.array([self._levels.row(key) if self._level_rule(*key) else -1 for key in keys], np.int64)
        self._levels.observe(rows, now, table.mean[:, None])

    def _live(self, now: int) -> dict[RelationKey, dict[str, float]]:
        found = {}
        for key, row in self._relations.keys.items():
            assert isinstance(key, tuple)
            source, relation, target = key
            found[RelationKey(self._graph.ref(source), relation, self._graph.ref(target))] = live_attributes(self._relations, row, now, relation)
        return found

    def _quiet(self, now: int) -> Iterator[tuple[RelationKey, int]]:
        """Relations over which nothing went lately, though so much should have that it would surely have been seen."""
        last = relations.last_calls(self._relations)
        silent = last <= now - relations.LOOK
        for key, row in self._relations.keys.items():
            if silent[row]:
                assert isinstance(key, tuple)
                source, relation, target = key
                own = self._durations.keys.get((source, "slower")) if RELATION_KINDS[relation].synchronous else None
                if own is not None and relations.should_have_carried(self._relations, row, last[row], self._durations, own) >= relations.SURELY_SEEN:
                    yield RelationKey(self._graph.ref(source), relation, self._graph.ref(target)), int(last[row])

    def _findings(self, now: int) -> Iterator[Weighed]:
        keys, rows = _all(self._durations)
        yield from self._told(keys, judge_durations(self._durations, rows, now, least=self._settings.least_requests))
        if self._failures_are_recorded():
            keys, rows = _all(self._coins)
            worth = np.full(rows.size, self._settings.coin_worth)
            yield from self._told(keys, judge_coins(self._coins, rows, now, least=self._settings.least_requests, worth=worth, sides=1))
        keys, rows = _all(self._demand)
        # A pod that nobody reports any more is gone, and what is gone has no demand that could be low.
        there = [place for place, (entity, _) in enumerate(keys) if self._was_seen(self._graph.ref(entity), now - STILL_THERE)]
        keys, rows = [keys[place] for place in there], rows[there]
        for detector, sign in (("busier", 1.0), ("quieter", -1.0)):
            demand = judge_means(self._demand, rows, now, least=self._settings.least_windows, wander=WANDER_OF_DEMAND, sign=sign)
            yield from self._told([(entity, detector) for entity, _ in keys], demand)
        yield from self._coarse_findings(now)
        yield from self._level_findings(now)
        yield from self._told(*self._behaviour.judge(now))

    def _coarse_findings(self, now: int) -> Iterator[Weighed]:
        """What began when those who feel it began to feel it counts in full; what began at another time has, mostly, nothing to do with that."""
        slow, times = _all(self._coarse_durations)
        fail, places = _all(self._coarse_coins)
        keys = [*slow, *fail]
        if not keys:
            return
        worth = worth_of(self._coarse_coins.arrays.baseline[places], self._settings.coin_worth)
        levels = levels_at_onsets(self._coarse_durations, times, now, WANDER_OF_COARSE_LOG)
        coins = coins_at_onsets(self._coarse_coins, places, now, worth, self._settings.least_requests)
        if not self._failures_are_recorded():
            coins.ratio[:] = np.nan
        raw = together(levels, coins)
        alone = by_itself(raw)
        self._coarse_durations.arrays.last[times] = np.nan_to_num(alone.ratio[: times.size])
        self._coarse_coins.arrays.last[places] = np.nan_to_num(alone.ratio[times.size :])
        rules = [self._rules.get((self._graph.ref(entity).kind, detector, "")) for entity, detector in keys]
        entities = [entity for entity, _ in keys]
        onsets = replace(raw, ratio=tempered_rows(raw.ratio, rules, self._settings))
        alone = replace(alone, ratio=tempered_rows(alone.ratio[:, None], rules, self._settings)[:, 0])
        shared = shared_onset(entities, onsets, alone.ratio, self._calls_of(frozenset(entities)))
        apart, common = (self._without_shadows(keys, judged_at(onsets, each)) for each in (alone, shared))
        ratio = either(apart.ratio, common.ratio, shared.felt)
        for place in np.flatnonzero(np.abs(np.nan_to_num(ratio)) >= LEAST_RATIO).tolist():
            seen = common if common.ratio[place] > apart.ratio[place] else apart
            if (rule := rules[place]) is not None:
                yield Weighed(self._said(keys[place][0], rule, seen, place, float(ratio[place])))

    def _failures_are_recorded(self) -> bool:
        """Where nothing was ever seen to fail, failures may not be recorded at all."""
        return any(table.arrays.baseline[:, 0].any() or table.arrays.sums[:, :, 0].any() for table in (self._coins, self._coarse_coins))

    def _without_shadows(self, keys: list[tuple[int, str]], judged: Judgements) -> Judgements:
        """Coarse judgements, detector by detector; before, after: per request."""
        coins, entities = self._coarse_coins, [entity for entity, _ in keys]
        requests = coins.newest(np.array([coins.keys.get((entity, "failing"), -1) for entity in entities], np.int64))[:, 1]
        ratio, excess = judged.ratio.copy(), np.nan_to_num((judged.after - judged.before) * requests)
        calls = list(self._calls_of(frozenset(entities)))
        for detector in {name for _, name in keys}:
            chosen = np.array([name == detector for _, name in keys], np.bool_)
            ratio[chosen] = less_shadows(np.array(entities)[chosen], ratio[chosen], excess[chosen], calls)
        return replace(judged, ratio=ratio)

    def _calls_of(self, targets: AbstractSet[int]) -> Iterator[tuple[int, int]]:
        """Caller and callee of each relation to one of `targets` that is waited for."""
        for key in self._relations.keys:
            assert isinstance(key, tuple)
            source, relation, target = key
            if relation == "calls" and target in targets:
                yield source, target

    def _level_findings(self, now: int) -> Iterator[Weighed]:
        keys, rows = _all(self._levels)
        rules = [self._level_rule(entity, attribute) for entity, attribute in keys]
        detector = np.array([LEVEL_DETECTORS[rule.detector] if rule else 0 for rule in rules], np.int64)
        floor = np.array([self._immaterial(entity, attribute, rule) for (entity, attribute), rule in zip(keys, rules, strict=True)])
        judged = judge_levels(self._levels, rows, now, detector, floor)
        for place, rule in enumerate(rules):
            if rule is not None:
                yield from self._finding(keys[place][0], rule, judged, place)

    def _immaterial(self, entity: int, attribute: str, rule: ConditionRule | None) -> float:
        """The difference no one would act on, of this entity if overrides.yaml says so."""
        usual = ATTRIBUTES[attribute].immaterial
        if not self._overrides or rule is None:
            return usual
        ref = self._graph.ref(entity)
        known = self._graph.entity(ref)
        return usual if known is None else overridden(self._overrides, ref, known.attributes)[1].get(rule.name, usual)

    def _told(self, keys: list[tuple[int, str]], judged: Judgements, told: list[str] | None = None) -> Iterator[Weighed]:
        for place in np.flatnonzero(np.abs(np.nan_to_num(judged.ratio)) >= LEAST_RATIO).tolist():
            entity, detector = keys[place]
            rule = self._rules.get((self._graph.ref(entity).kind, detector, ""))
            if rule is not None:
                yield from self._finding(entity, rule, judged, place, told[place] if told else "")

    def _finding(self, entity: int, rule: ConditionRule, judged: Judgements, place: int, event: str = "") -> Iterator[Weighed]:
        raw = float(judged.ratio[place])
        ratio = tempered(raw, rule, self._settings)
        if abs(ratio) >= LEAST_RATIO:
            yield Weighed(self._said(entity, rule, judged, place, ratio, event), raw, rule.detector)

    def _said(self, entity: int, rule: ConditionRule, judged: Judgements, place: int, ratio: float, event: str = "") -> Finding:
        before, after, count = float(judged.before[place]), float(judged.after[place]), float(judged.count[place])
        words = observed(rule.detector, rule.attribute, before, after, count, event)
        return Finding(
            condition=ConditionRef(self._graph.ref(entity), rule.name),
            log_likelihood_ratio=ratio,
            onset=int(judged.onset[place] - rule.shows_after * SECOND) if ratio > 0 else None,
            amount=words.amount,
            unit=words.unit,
            observed=words.text,
        )

    def _rows(self, table: StreamTable, entities: list[int], detector: str) -> Int64:
        """Streams are kept for what a rule of the entity's kind can use."""
        return np.array([table.row((entity, detector)) if self._has_rule(entity, detector) else -1 for entity in entities], np.int64)

    def _has_rule(self, entity: int, detector: str) -> bool:
        return (self._graph.ref(entity).kind, detector, "") in self._rules

    def _level_rule(self, entity: int, attribute: str) -> ConditionRule | None:
        kind = self._graph.ref(entity).kind
        return next((rule for detector in LEVEL_DETECTORS if (rule := self._rules.get((kind, detector, attribute))) is not None), None)


def _all(table: StreamTable) -> tuple[list[tuple[int, str]], Int64]:
    keys: list[Hashable] = list(table.keys)
    return keys, np.arange(len(keys), dtype=np.int64)  # type: ignore[return-value]  # every key of these tables is (entity, name)
