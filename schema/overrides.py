"""overrides.yaml: priors and thresholds that differ for some entities. The narrower selector wins; two that contradict each other are refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import combinations

from schema.identity import EntityRef
from schema.kinds import ENTITY_KINDS
from schema.knowledge import KindKnowledge, Override, Selector
from schema.rule_format import OVERRIDE, OVERRIDES, SELECTOR
from schema.rule_nodes import CausalModelError, Node, near

THRESHOLD_DETECTORS = frozenset({"near_limit", "below_usual", "above_usual", "increased"})


def read_overrides(root: Node, kinds: Mapping[str, KindKnowledge]) -> tuple[Override, ...]:
    """Every entry of the file. Raises CausalModelError, also for two that contradict each other."""
    found = tuple(_override(each, kinds) for each in root.fields(OVERRIDES)["overrides"].elements())
    for one, other in combinations(found, 2):
        _agree(one, other)
    return found


def overridden(overrides: Iterable[Override], ref: EntityRef, labels: Mapping[str, str]) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Priors by defect and thresholds by condition that are set for an entity."""
    matching = sorted((each for each in overrides if selects(each.selector, ref, labels)), key=lambda each: _narrowness(each.selector))
    priors: dict[str, float] = {}
    thresholds: dict[str, float] = {}
    for each in matching:
        priors.update(each.priors)
        thresholds.update(each.thresholds)
    return priors, thresholds


def selects(selector: Selector, ref: EntityRef, labels: Mapping[str, str]) -> bool:
    """Whether an entity is meant."""
    return (
        selector.kind == ref.kind
        and selector.cluster in {None, ref.cluster}
        and selector.namespace in {None, ref.namespace}
        and (selector.name is None or fnmatchcase(ref.name, selector.name))
        and all(labels.get(name) == value for name, value in selector.labels.items())
    )


def _override(node: Node, kinds: Mapping[str, KindKnowledge]) -> Override:
    fields = node.fields(OVERRIDE)
    selector = _selector(fields["select"])
    if selector.kind not in kinds:
        raise fields["select"].fail(f'no rules describe the kind "{selector.kind}", so nothing of it can be overridden.')
    kind = kinds[selector.kind]
    priors = {}
    for name, value in fields["prior_per_hour"].items() if "prior_per_hour" in fields else []:
        if name not in kind.defects:
            raise value.fail(f'defect "{name}" of kind "{kind.kind}" does not exist.{near(name, tuple(kind.defects))}')
        priors[name] = value.probability()
    thresholds = {name: _threshold(name, value, kind) for name, value in (fields["threshold"].items() if "threshold" in fields else [])}
    if not priors and not thresholds:
        raise node.fail("this overrides nothing: add prior_per_hour or threshold.")
    return Override(f"{node.file}:{node.line}", selector, priors, thresholds)


def _selector(node: Node) -> Selector:
    fields = node.fields(SELECTOR)
    places = {}
    for key in ("cluster", "namespace"):
        if key in fields and not isinstance(fields[key].value, str):
            raise fields[key].fail("a text is needed here.")
        places[key] = fields[key].value if key in fields else None
    labels = {name: value.text() for name, value in fields["labels"].items()} if "labels" in fields else {}
    return Selector(fields["kind"].one_of("entity kind", ENTITY_KINDS), **places, name=fields["name"].text() if "name" in fields else None, labels=labels)


def _threshold(name: str, node: Node, kind: KindKnowledge) -> float:
    if name not in kind.conditions:
        raise node.fail(f'condition "{name}" of kind "{kind.kind}" does not exist.{near(name, tuple(kind.conditions))}')
    if kind.conditions[name].detector not in THRESHOLD_DETECTORS:
        able = [each.name for each in kind.conditions.values() if each.detector in THRESHOLD_DETECTORS]
        raise node.fail(f'condition "{name}" has no threshold: its detector learns by itself. Those that have one: {", ".join(able) or "none of this kind"}.')
    value = node.number()
    if not 0.0 < value < float("inf"):
        raise node.fail(f"a threshold above 0 is needed here, not {value:g}.")
    return value


def _agree(one: Override, other: Override) -> None:
    if _narrower(one.selector, other.selector) or _narrower(other.selector, one.selector) or not _may_meet(one.selector, other.selector):
        return
    for mine, theirs in ((one.priors, other.priors), (one.thresholds, other.thresholds)):
        for name in mine.keys() & theirs.keys():
            if mine[name] != theirs[name]:
                raise CausalModelError(
                    f'{other.location}: "{name}" is {theirs[name]:g} here and {mine[name]:g} at {one.location}, and an entity may be meant by both: '
                    "let one select less than the other, or give both the same value."
                )


def _constraints(selector: Selector) -> dict[str, str]:
    given = {"kind": selector.kind, "cluster": selector.cluster, "namespace": selector.namespace, "name": selector.name}
    labels = {f"label {name}": value for name, value in selector.labels.items()}
    return {key: value for key, value in given.items() if value is not None} | labels


def _is_pattern(name: str | None) -> bool:
    return name is not None and any(sign in name for sign in "*?[")


def _narrower(one: Selector, other: Selector) -> bool:
    mine, theirs = _constraints(one), _constraints(other)
    if mine == theirs:
        return False
    name = theirs.get("name")
    return all(
        mine.get(key) == value or (key == "name" and name is not None and "name" in mine and not _is_pattern(one.name) and fnmatchcase(mine["name"], name))
        for key, value in theirs.items()
    )


def _narrowness(selector: Selector) -> int:
    return len(_constraints(selector)) + (selector.name is not None and not _is_pattern(selector.name))


def _may_meet(one: Selector, other: Selector) -> bool:
    mine, theirs = _constraints(one), _constraints(other)
    differing = {key for key in mine.keys() & theirs.keys() if mine[key] != theirs[key]}
    if differing != {"name"}:
        return not differing
    patterns = [_is_pattern(one.name), _is_pattern(other.name)]
    if not any(patterns):
        return False
    return all(patterns) or fnmatchcase(mine["name"], theirs["name"]) or fnmatchcase(theirs["name"], mine["name"])
