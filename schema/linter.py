"""What is doubtful in causal knowledge though it loads: what can't happen, can't be told apart, is not used, does not fade, or lacks what a user needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, product

from schema.attributes import ATTRIBUTES, SUCCESS_RATIO
from schema.knowledge import CausalKnowledge, KindKnowledge, RemedyRule, Strength
from schema.strength import constant

ALIKE = 0.1
UNBOUNDED = 1e9
METRIC_DETECTORS = frozenset({"near_limit", "below_usual", "above_usual", "increased", "not_ready"})
NO_ANSWER = frozenset({"", "-", "?", "none", "none known", "unknown", "todo", "n/a"})
UNBOUNDED_VARIABLES = frozenset({"latency_growth", "calls_per_request"})

COUNTED_AS_FAILURES = frozenset({SUCCESS_RATIO.name})  # ingest turns it into failed requests, which other detectors judge

Place = tuple[str, str]


class Doubt(StrEnum):
    """What the linter looks for."""

    UNREACHABLE = "unreachable condition"
    AMBIGUOUS = "ambiguous defects"
    NEEDS_METRICS = "defects that only metrics tell apart"
    UNUSED = "unused attribute"
    UNMEASURED = "attribute not measured of this kind"
    NO_DECAY = "cycle without decay"
    NO_SOURCE = "numbers without a source"
    NO_REMEDY = "remedy without effect or risk"
    NO_EXAMPLE = "defect without a ranking example"
    NO_LOOKALIKE = "defect without an example of what only looks like it"


FAULTS = frozenset({Doubt.UNMEASURED, Doubt.NO_DECAY, Doubt.NO_SOURCE, Doubt.NO_REMEDY})
"""What must be mended; the others are told, for they may be meant."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """`about`: kind, kind.name or a list of such; `text`: what to do about it."""

    doubt: Doubt
    about: str
    text: str

    @property
    def is_fault(self) -> bool:
        """Whether it must be mended."""
        return self.doubt in FAULTS


def lint(knowledge: CausalKnowledge) -> tuple[Complaint, ...]:
    """All complaints, by what they are about."""
    found = [
        *_unreachable(knowledge), *_ambiguous(knowledge), *_unused(knowledge), *_unmeasured(knowledge), *_endless(knowledge),
        *_sourceless(knowledge), *_without_remedy(knowledge), *_without_example(knowledge),
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda each: (list(Doubt).index(each.doubt), each.about)))


@dataclass(frozen=True, slots=True)
class Numbers:
    """How many numbers the knowledge holds, and how many of them are guesses."""

    total: int
    guesses: int


def count_numbers(kind: KindKnowledge, knowledge: CausalKnowledge) -> Numbers:
    """Each number by its own source; without one, factors by that of their defect, strengths and rates by that of the kind."""
    counts = [(1, defect.source) for defect in kind.defects.values()]
    counts += [(1, defect.sources.get(change, defect.source)) for defect in kind.defects.values() for change in defect.raised_by]
    counts += [(1, link.source or kind.source) for link in kind.links]
    counts += [(2 if rule.strength.needs else 1, rule.source or kind.source) for rule in knowledge.propagation if rule.from_kind == kind.kind]
    counts.append((sum(3 if rule.detector else 1 for rule in kind.conditions.values()), kind.source))
    return Numbers(sum(count for count, _ in counts), sum(count for count, source in counts if source.lower().startswith("guess")))


def _unreachable(knowledge: CausalKnowledge) -> Iterator[Complaint]:
    reached: set[Place] = set()
    edges = _edges(knowledge)
    front = [(kind.kind, name) for kind in knowledge.kinds.values() for name in kind.defects]
    while front:
        for effect in edges.get(front.pop(), {}):
            if effect not in reached:
                reached.add(effect)
                front.append(effect)
    for kind in knowledge.kinds.values():
        for name in kind.conditions:
            if (kind.kind, name) not in reached:
                yield Complaint(Doubt.UNREACHABLE, f"{kind.kind}.{name}", "No defect leads to it, only its leak: add a cause, or remove it.")


def _ambiguous(knowledge: CausalKnowledge) -> Iterator[Complaint]:
    edges = {cause: {effect: strength.under({}) for effect, strength in effects.items()} for cause, effects in _edges(knowledge).items()}
    for kind in knowledge.kinds.values():
        shown = {(kind.kind, name): _shown(knowledge, edges, (kind.kind, name)) for name in kind.defects}
        of_traffic = {name: {place: share for place, share in found.items() if not _measured(knowledge, place)} for name, found in shown.items()}
        groups = _groups(shown)
        for group in groups:
            yield Complaint(Doubt.AMBIGUOUS, group, f"No finding is expected of one and not of the other (within {ALIKE:g}): name what tells them apart.")
        for group in _groups(of_traffic):
            if group not in groups:
                yield Complaint(Doubt.NEEDS_METRICS, group, f"Without metrics nothing is expected of one and not of the other (within {ALIKE:g}).")


def _groups(shown: Mapping[Place, Mapping[Place, float]]) -> list[str]:
    groups: list[list[Place]] = []
    for one, other in combinations(shown, 2):
        if _alike(shown[one], shown[other]):
            touched = [group for group in groups if one in group or other in group]
            groups = [group for group in groups if group not in touched] + [sorted({one, other}.union(*touched))]
    return [", ".join(".".join(place) for place in group) for group in groups]


def _measured(knowledge: CausalKnowledge, place: Place) -> bool:
    return knowledge.kinds[place[0]].conditions[place[1]].detector in METRIC_DETECTORS


def _shown(knowledge: CausalKnowledge, edges: Mapping[Place, Mapping[Place, float]], defect: Place) -> dict[Place, float]:
    """The observable conditions a defect leads to, by the strongest way, as long as nothing is known of relations."""
    found: dict[Place, float] = {defect: 1.0}
    front = [defect]
    while front:
        cause = front.pop()
        for effect, strength in edges.get(cause, {}).items():
            if found[cause] * strength > found.get(effect, 0.0) + 1e-12:
                found[effect] = found[cause] * strength
                front.append(effect)
    return {place: share for place, share in found.items() if place != defect and knowledge.kinds[place[0]].conditions[place[1]].detector}


def _alike(one: Mapping[Place, float], other: Mapping[Place, float]) -> bool:
    return all(abs(one.get(place, 0.0) - other.get(place, 0.0)) < ALIKE for place in one.keys() | other.keys())


def _unused(knowledge: CausalKnowledge) -> Iterator[Complaint]:
    used = {rule.attribute for kind in knowledge.kinds.values() for rule in kind.conditions.values()} | COUNTED_AS_FAILURES
    for name in ATTRIBUTES:
        if name not in used:
            yield Complaint(Doubt.UNUSED, name, "It is measured, but shows no condition: write one, or measure it no more.")


def _unmeasured(knowledge: CausalKnowledge) -> Iterator[Complaint]:
    for kind in knowledge.kinds.values():
        for rule in kind.conditions.values():
            if rule.attribute and kind.kind not in ATTRIBUTES[rule.attribute].kinds:
                kinds = ", ".join(ATTRIBUTES[rule.attribute].kinds)
                yield Complaint(Doubt.UNMEASURED, f"{kind.kind}.{rule.name}", f'"{rule.attribute}" is measured of {kinds} only: choose another attribute.')


def _endless(knowledge: CausalKnowledge) -> Iterator[Complaint]:
    """Strengths are at most 1, so a cycle fades unless each of its links may reach 1."""
    sure = {cause: [effect for effect, strength in effects.items() if _largest(strength) >= 1.0] for cause, effects in _edges(knowledge).items()}
    told: set[frozenset[Place]] = set()
    for start in sure:
        way = _way_back(start, sure)
        if way and frozenset(way) not in told:
            told.add(frozenset(way))
            yield Complaint(
                Doubt.NO_DECAY, ", ".join(".".join(place) for place in way), "Each causes the next for certain, round and round: keep a strength below 1."
            )


def _way_back(start: Place, sure: Mapping[Place, Iterable[Place]]) -> list[Place]:
    before: dict[Place, Place] = {}
    front = [start]
    while front:
        cause = front.pop(0)
        for effect in sure.get(cause, ()):
            if effect == start:
                way = [cause]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1]
            if effect not in before:
                before[effect] = cause
                front.append(effect)
    return []


def _largest(strength: Strength) -> float:
    """Over the corners of what its variables can be; strengths are monotone in each."""
    variables = sorted(strength.needs)
    ends = [(0.0, 1.0, UNBOUNDED) if name in UNBOUNDED_VARIABLES else (0.0, 1.0) for name in variables]
    return max(strength.otherwise, *(strength.under(dict(zip(variables, corner, strict=True))) for corner in product(*ends)))


def _sourceless(knowledge: CausalKnowledge) -> Iterator[Complaint]:
    for kind in knowledge.kinds.values():
        if not kind.source:
            yield Complaint(Doubt.NO_SOURCE, kind.kind, 'Nobody says where its strengths and rates come from: add source to the file; "guess" will do.')


def _without_remedy(knowledge: CausalKnowledge) -> Iterator[Complaint]:
    for kind in knowledge.kinds.values():
        for defect in kind.defects.values():
            if not defect.remedies:
                yield Complaint(Doubt.NO_REMEDY, f"{kind.kind}.{defect.name}", "It has no remedy: say what would fix it.")
            for remedy in defect.remedies:
                yield from _answers(f"{kind.kind}.{defect.name}", remedy)


def _answers(about: str, remedy: RemedyRule) -> Iterator[Complaint]:
    for key, text in (("effect", remedy.effect), ("risk", remedy.risk)):
        if text.rstrip(".").lower() in NO_ANSWER:
            yield Complaint(Doubt.NO_REMEDY, about, f'"{remedy.action}" has no {key}: say what is expected, or what it may cost.')


def _without_example(knowledge: CausalKnowledge) -> Iterator[Complaint]:
    first, unlike = (
        {(text.partition(":")[0], text.rpartition(".")[2]) for each in knowledge.examples if (text := getattr(each, role))} for role in ("first", "unlike")
    )
    for kind in knowledge.kinds.values():
        for name in kind.defects:
            if (kind.kind, name) not in first:
                yield Complaint(Doubt.NO_EXAMPLE, f"{kind.kind}.{name}", "No worked example ranks it first: add one.")
            if (kind.kind, name) not in unlike:
                yield Complaint(Doubt.NO_LOOKALIKE, f"{kind.kind}.{name}", "No worked example looks like it and is not: add one with unlike.")


def _edges(knowledge: CausalKnowledge) -> dict[Place, dict[Place, Strength]]:
    """Cause -> effect of the same or a neighbouring kind -> the strongest link."""
    found: dict[Place, dict[Place, Strength]] = {}

    def add(cause: Place, effect: Place, strength: Strength) -> None:
        known = found.setdefault(cause, {}).get(effect)
        if known is None or strength.otherwise > known.otherwise:
            found[cause][effect] = strength

    for kind in knowledge.kinds.values():
        for link in kind.links:
            add((kind.kind, link.cause), (kind.kind, link.effect), constant(link.strength))
    for rule in knowledge.propagation:
        add((rule.from_kind, rule.cause), (rule.to_kind, rule.effect), rule.strength)
    return found
