"""The evidence engine: streams for everything a rule's detector can judge, one pass over the tables of each window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import log
from typing import TypeVar

import numpy as np

from graph.live import LiveGraph
from graph.topology import RelationKey
from reasoning.evidence.relations import RelationStream
from reasoning.evidence.state import EvidenceState
from reasoning.evidence.streams import MEMORY, CoinStream, DurationStream, Judgement, LevelStream
from schema.identity import EntityRef
from schema.knowledge import CausalKnowledge, ConditionRule
from schema.verdicts import ConditionRef, Finding
from schema.windows import BehaviourTable, CallTable, RequestTable, SampleTable, TelemetryWindow

SECONDS = 1e9
Stream = TypeVar("Stream")


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """`least_requests`: how many a baseline needs before it judges. `knee`, `slope`: beyond the knee only a share of a ratio counts."""

    least_requests: float = 30.0
    coin_worth: float = 100.0
    duration_worth: float = 20.0
    knee: float = 3.5
    slope: float = 0.3
    streams: int = 500_000


class EvidenceEngine:
    """Keeps the streams; `observe` is called once a window, in order."""

    def __init__(self, knowledge: CausalKnowledge, graph: LiveGraph, settings: EvidenceSettings | None = None) -> None:
        self._graph = graph
        self._settings = settings or EvidenceSettings()
        self._rules = _by_detector(knowledge)
        self._coins: dict[tuple[str, int], CoinStream] = {}
        self._durations: dict[tuple[int, str], DurationStream] = {}
        self._levels: dict[tuple[int, str], LevelStream] = {}
        self._relations: dict[tuple[int, str, int], RelationStream] = {}
        self._events: dict[tuple[int, str, str], dict[str, CoinStream]] = {}
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Streams not opened, by reason."""
        return dict(self._dropped)

    def observe(self, window: TelemetryWindow) -> EvidenceState:
        """All findings as of the window's end."""
        now = window.end
        self._requests(now, window.requests)
        self._calls(now, window.calls, window.requests)
        self._behaviour(now, window.behaviour)
        self._samples(now, window.samples)
        findings = sorted(self._findings(now), key=lambda finding: (str(finding.condition.entity), finding.condition.condition))
        live = {
            RelationKey(self._graph.ref(source), relation, self._graph.ref(target)): stream.live(now, relation)
            for (source, relation, target), stream in sorted(self._relations.items())
        }
        return EvidenceState(now, tuple(findings), live)

    def _open(self, table: dict[tuple[int, str], Stream], key: tuple[int, str], make: Callable[[], Stream]) -> Stream:
        stream = table.get(key)
        if stream is None:
            stream = make()
            if len(table) < self._settings.streams:
                table[key] = stream
            else:
                self._dropped["streams_full"] += 1
        return stream

    def _requests(self, now: int, table: RequestTable) -> None:
        for row, entity in enumerate(table.entity.tolist()):
            requests = float(table.requests[row])
            for name, count in (("failing", table.errors[row]), ("failing_own", table.own_errors[row])):
                stream = self._coins.setdefault((name, entity), CoinStream(self._settings.coin_worth))
                stream.observe(now, float(count), requests)
            self._open(self._levels, (entity, "demand"), LevelStream).observe(now, float(np.sqrt(requests)))
            if table.detailed[row]:
                for name, histogram in (("slower", table.duration_histogram[row]), ("slower_own", table.own_histogram[row])):
                    self._open(self._durations, (entity, name), lambda: DurationStream(self._settings.duration_worth)).observe(now, histogram)
            elif requests:
                self._open(self._levels, (entity, "mean_duration"), LevelStream).observe(now, log(max(table.duration[row] / requests / SECONDS, 1e-6)))

    def _calls(self, now: int, calls: CallTable, requests: RequestTable) -> None:
        served = {entity: row for row, entity in enumerate(requests.entity.tolist())}
        for row in range(len(calls.source)):
            relation = calls.relations[calls.relation[row]]
            source, target = int(calls.source[row]), int(calls.target[row])
            if relation == "traverses":
                self._open(self._durations, (target, "gap_wider"), lambda: DurationStream(self._settings.duration_worth)).observe(now, calls.gap_histogram[row])
            at = served.get(source)
            answered = calls.gap[row] if relation == "traverses" else calls.target_duration[row] if calls.paired[row] else calls.duration[row]
            sums = np.array(
                [
                    calls.calls[row],
                    calls.duration[row] / SECONDS,
                    answered / SECONDS,
                    calls.carrying[row],
                    calls.source_requests[row],
                    calls.failed_source[row],
                    requests.duration[at] / SECONDS if at is not None else 0.0,
                    requests.errors[at] if at is not None else 0.0,
                ],
                dtype=np.float64,
            )
            judged = self._durations.get((source, "slower"))
            calm = judged is None or judged.last < 1.0
            self._relations.setdefault((source, relation, target), RelationStream()).observe(now, sums, 1.0 if calm else 0.1)

    def _behaviour(self, now: int, table: BehaviourTable) -> None:
        trials: dict[tuple[int, str, str], float] = {}
        shown: dict[tuple[int, str, str], dict[str, float]] = {}
        for row in range(len(table.entity)):
            caller = table.strings[table.caller[row]] if table.caller[row] >= 0 else ""
            key = (int(table.entity[row]), caller, table.strings[table.operation[row]])
            trials[key] = float(table.trials[row])
            event = table.strings[table.event[row]]
            # Calls and their failures are judged along the relations; here the operation's own doings count.
            if event and table.calls[row] < 0 and event != "failed":
                shown.setdefault(key, {})[event] = float(table.shown[row])
        for key, count in trials.items():
            streams = self._events.setdefault(key, {})
            for event in shown.get(key, {}):
                if event not in streams and len(streams) < 400:
                    fresh = CoinStream(self._settings.coin_worth, two_sided=True)
                    if others := next(iter(streams.values()), None):
                        fresh.trials, fresh.recent = others.trials, type(others.recent)((at, 0.0, seen) for at, _, seen in others.recent)
                    streams[event] = fresh
            for event, stream in streams.items():
                stream.observe(now, shown.get(key, {}).get(event, 0.0), count)

    def _samples(self, now: int, table: SampleTable) -> None:
        for row, entity in enumerate(table.entity.tolist()):
            self._open(self._levels, (entity, table.attributes[table.attribute[row]]), LevelStream).observe(now, float(table.mean[row]))

    def _findings(self, now: int) -> Iterator[Finding]:
        least = self._settings.least_requests
        for (entity, name), stream in self._durations.items():
            if _fresh(stream.recent, now):
                yield from self._finding(entity, name, "", stream.judge(now, least), "s", "mean {before:.3g} s -> {after:.3g} s over {count:.0f} requests")
        for (detector, entity), coin_stream in self._coins.items():
            if _fresh(coin_stream.recent, now):
                yield from self._finding(
                    entity, str(name), "", coin_stream.judge(now, least), "{request}", "{before:.1%} -> {after:.1%} of {count:.0f} requests failed"
                )
        for (entity, name), level in self._levels.items():
            if _fresh(level.recent, now):
                yield from self._level_findings(entity, name, level, now)
        yield from self._behaviour_findings(now)

    def _level_findings(self, entity: int, name: str, level: LevelStream, now: int) -> Iterator[Finding]:
        if name == "demand":
            for detector, upward in (("busier", True), ("quieter", False)):
                floor = 0.5 + 0.15 * abs(level.past[-1]) if level.past else 0.5
                judged = level.judge(now, floor, upward=upward, wide=6.0)
                yield from self._finding(entity, detector, "", judged, "{request}", "square root of requests a window {before:.2g} -> {after:.2g}")
            return
        if name == "mean_duration":
            yield from self._finding(entity, "slower", "", level.judge(now, 0.15, upward=True), "log s", "log mean duration {before:.3g} -> {after:.3g}")
            return
        for detector, floor, upward, share in (
            ("near_limit", 0.03, True, True),
            ("below_usual", 0.03, False, True),
            ("above_usual", 1.0, True, False),
            ("increased", 0.2, True, False),
            ("not_ready", 0.05, False, True),
        ):
            judged = level.judge(now, floor if share else max(floor * 0.3, 0.25 * abs(level.past[-1]) if level.past else 0.0), upward=upward, share=share)
            yield from self._finding(entity, detector, name, judged, "1", "{before:.3g} -> {after:.3g}")

    def _behaviour_findings(self, now: int) -> Iterator[Finding]:
        best: dict[int, tuple[float, Judgement, str]] = {}
        for (entity, _, operation), streams in self._events.items():
            ratios = []
            for event, stream in streams.items():
                if _fresh(stream.recent, now) and (judged := stream.judge(now, 10.0)) is not None:
                    ratios.append((judged.ratio, event, judged))
            if not ratios:
                continue
            ratio, event, judged = max(ratios, key=lambda each: (each[0], each[1]))
            ratio -= log(len(ratios)) if ratio > 0 else 0.0
            if entity not in best or ratio > best[entity][0]:
                best[entity] = (ratio, judged, f"{operation}: {event}")
        for entity, (ratio, judged, text) in best.items():
            told = Judgement(ratio, judged.onset, judged.amount, judged.before, judged.after, judged.count)
            yield from self._finding(
                entity,
                "behaving_differently",
                "",
                told,
                "{request}",
                text.replace("{", "{{").replace("}", "}}") + " in {before:.1%} -> {after:.1%} of {count:.0f} requests",
            )

    def _finding(self, entity: int, detector: str, attribute: str, judged: Judgement | None, unit: str, text: str) -> Iterator[Finding]:
        if judged is None:
            return
        ref = self._graph.ref(entity)
        rule = self._rules.get((ref.kind, detector, attribute)) or (self._rules.get((ref.kind, detector, "")) if not attribute else None)
        if rule is None:
            return
        ratio = _tempered(judged.ratio, rule, self._settings)
        if abs(ratio) < 0.05:
            return
        observed = text.format(before=judged.before, after=judged.after, count=judged.count)
        yield Finding(ConditionRef(ref, rule.name), ratio, judged.onset if ratio > 0 else None, judged.amount, unit, observed)


def _tempered(ratio: float, rule: ConditionRule, settings: EvidenceSettings) -> float:
    bent = min(ratio, settings.knee + settings.slope * (ratio - settings.knee))
    strongest = log((1.0 - rule.false_negative) / rule.false_positive)
    weakest = log(rule.false_negative / (1.0 - rule.false_positive))
    return min(max(bent, weakest), strongest)


def _fresh(recent: object, now: int) -> bool:
    rows = list(recent)  # type: ignore[call-overload]  # every stream's rows begin with their time
    return bool(rows) and rows[-1][0] > now - MEMORY


def _by_detector(knowledge: CausalKnowledge) -> dict[tuple[str, str, str], ConditionRule]:
    found: dict[tuple[str, str, str], ConditionRule] = {}
    sampled = {"near_limit", "below_usual", "above_usual", "increased", "not_ready"}
    for kind in knowledge.kinds.values():
        for rule in kind.conditions.values():
            if rule.detector:
                found[kind.kind, rule.detector, rule.attribute if rule.detector in sampled else ""] = rule
    return found


def entity_refs(findings: tuple[Finding, ...]) -> list[EntityRef]:
    """The entities that findings speak of, in order."""
    return sorted({finding.condition.entity for finding in findings})
