"""Causal knowledge from YAML: every mistake is told with its file, line and nearest name, and a broken file refuses the whole load."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from schema.attributes import ATTRIBUTES
from schema.detectors import DETECTORS
from schema.kinds import ENTITY_KINDS
from schema.knowledge import CausalKnowledge, CauseLink, ConditionRule, DefectRule, KindKnowledge, PropagationRule, RemedyRule, Strength, Toward, WorkedExample
from schema.overrides import read_overrides
from schema.relations import RELATION_KINDS
from schema.rule_format import CONDITION, DEFECT, EXAMPLE, EXPRESSION, PROPAGATION, REMEDY, RULES
from schema.rule_nodes import CausalModelError, Node, near, overlaid, parse
from schema.strength import StrengthError, constant, expression
from schema.windows import ChangeKind

__all__ = ["OVERRIDES_FILE", "PACKAGED", "CausalModelError", "load_knowledge"]

PACKAGED = Path(__file__).parent / "causal"
OVERRIDES_FILE = "overrides.yaml"


def load_knowledge(directory: Path | None = None) -> CausalKnowledge:
    """The packaged rule files, and over them, by kind and name, those of a directory with its overrides.yaml. Raises CausalModelError."""
    digest = hashlib.sha256()
    roots = _read(PACKAGED, "schema/causal/", digest)
    overrides: Node | None = None
    if directory is not None:
        above = _read(directory, f"{directory}/", digest)
        overrides = above.pop(OVERRIDES_FILE, None)
        roots = _laid_over(_by_kind(roots.values()), _by_kind(above.values()))
    else:
        roots = _by_kind(roots.values())
    kinds = {kind: _kind(root) for kind, root in roots.items()}
    propagation = tuple(rule for root in roots.values() for rule in _propagation(root, kinds))
    examples = tuple(example for root in roots.values() for example in _examples(root))
    return CausalKnowledge(digest.hexdigest()[:12], kinds, propagation, examples, read_overrides(overrides, kinds) if overrides else ())


def _read(folder: Path, prefix: str, digest: hashlib._Hash) -> dict[str, Node]:
    try:
        contents = {file.name: file.read_bytes() for file in sorted(folder.glob("*.yaml"))}
    except OSError as error:
        raise CausalModelError(f"{folder}: the rule files can't be read: {error.strerror}.") from error
    if not contents:
        raise CausalModelError(f"{folder}: no rule files (*.yaml) are here: choose another knowledge directory.")
    for name, content in contents.items():
        digest.update(name.encode() + b"\0" + content)
    return {name: parse(f"{prefix}{name}", content) for name, content in contents.items()}


def _by_kind(roots: Iterable[Node]) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for root in roots:
        fields = dict(root.items())
        if "kind" not in fields:
            raise root.fail('the key "kind" is missing here.')
        kind = fields["kind"].one_of("entity kind", ENTITY_KINDS)
        if kind in found:
            raise root.fail(f'the kind "{kind}" is described in two files, here and in {found[kind].file}.')
        found[kind] = root
    return found


def _laid_over(below: Mapping[str, Node], above: Mapping[str, Node]) -> dict[str, Node]:
    found = dict(below)
    for kind, root in above.items():
        replaces = dict(root.items()).get("replaces")
        if replaces is not None and not isinstance(replaces.value, bool):
            raise replaces.fail("true or false is needed here.")
        keeps = kind in below and not (replaces and replaces.value)
        found[kind] = overlaid(below[kind], root) if keeps else root
    return found


def _kind(root: Node) -> KindKnowledge:
    fields = root.fields(RULES)
    kind = fields["kind"].one_of("entity kind", ENTITY_KINDS)
    conditions = {name: _condition(name, node) for name, node in fields["conditions"].items()}
    defects: dict[str, DefectRule] = {}
    links: list[CauseLink] = []
    for name, node in fields["defects"].items() if "defects" in fields else []:
        if name in conditions:
            raise node.fail(f'"{name}" is a condition already: a defect needs another name.')
        defects[name] = _defect(name, node)
        links += _links(name, dict(node.items())["causes"], kind, conditions, defects[name].sources)
    for name, node in fields["implies"].items() if "implies" in fields else []:
        _exists(node, name, kind, conditions)
        links += _links(name, node, kind, conditions)
    about = {key: fields[key].text() if key in fields else "" for key in ("source", "owner")}
    return KindKnowledge(kind, conditions, defects, tuple(links), **about)


def _condition(name: str, node: Node) -> ConditionRule:
    fields = node.fields(CONDITION)
    attribute = fields["attribute"].one_of("attribute", ATTRIBUTES) if "attribute" in fields else ""
    detector = fields["detector"].one_of("detector", DETECTORS) if "detector" in fields else ""
    rates = {
        key: fields[key].probability() if key in fields else default for key, default in (("leak", 2e-5), ("false_positive", 0.005), ("false_negative", 0.1))
    }
    after = fields["shows_after"].amount() if "shows_after" in fields else 0.0
    return ConditionRule(name, fields["summary"].text(), attribute, detector, **rates, shows_after=after)


def _defect(name: str, node: Node) -> DefectRule:
    fields = node.fields(DEFECT)
    changes = {kind.value: kind for kind in ChangeKind}
    raised = {}
    for change, factor in fields["raised_by"].items() if "raised_by" in fields else []:
        if change not in changes:
            raise factor.fail(f'change "{change}" does not exist.{near(change, tuple(changes))}')
        raised[change] = factor.number()
    remedies = tuple(RemedyRule(**{key: each.text() for key, each in remedy.fields(REMEDY).items()}) for remedy in fields["remedies"].elements())
    only = {key: fields[key].one_of("relation", RELATION_KINDS) if key in fields else "" for key in ("only_with", "only_without")}
    owner = fields["owner"].text() if "owner" in fields else ""
    prior, source, sources = fields["prior_per_hour"].probability(), fields["source"].text(), _sources(fields)
    return DefectRule(name, fields["summary"].text(), prior, raised, remedies, source, **only, owner=owner, sources=sources)


def _sources(defect: Mapping[str, Node]) -> dict[str, str]:
    numbers = [name for part in ("raised_by", "causes") if part in defect for name, _ in defect[part].items()]
    for name, node in defect["sources"].items() if "sources" in defect else []:
        if name not in numbers:
            raise node.fail(f'"{name}" is neither in raised_by nor in causes.{near(name, tuple(numbers))}')
    return {name: node.text() for name, node in defect["sources"].items()} if "sources" in defect else {}


def _links(cause: str, node: Node, kind: str, conditions: Mapping[str, ConditionRule], sources: Mapping[str, str] | None = None) -> Iterator[CauseLink]:
    for effect, strength in node.items():
        _exists(strength, effect, kind, conditions)
        yield CauseLink(cause, effect, strength.probability(), (sources or {}).get(effect, ""))


def _exists(node: Node, condition: str, kind: str, conditions: Mapping[str, object]) -> None:
    if condition not in conditions:
        raise node.fail(f'condition "{condition}" of kind "{kind}" does not exist.{near(condition, tuple(conditions))}')


def _propagation(root: Node, kinds: Mapping[str, KindKnowledge]) -> Iterator[PropagationRule]:
    fields = dict(root.items())
    from_kind = fields["kind"].text()
    for node in fields["propagation"].elements() if "propagation" in fields else []:
        rule = node.fields(PROPAGATION)
        to_kind = rule["to"].one_of("entity kind with rules", kinds)
        cause, effect = rule["cause"].text(), rule["effect"].text()
        if cause not in kinds[from_kind].defects:
            _exists(rule["cause"], cause, from_kind, kinds[from_kind].conditions)
        _exists(rule["effect"], effect, to_kind, kinds[to_kind].conditions)
        toward = Toward(rule["toward"].one_of("end of a relation", {end.value: end for end in Toward}))
        over, source = rule["over"].one_of("relation", RELATION_KINDS), rule["source"].text() if "source" in rule else ""
        yield PropagationRule(over, toward, from_kind, cause, to_kind, effect, _strength(rule["strength"]), source)


def _strength(node: Node) -> Strength:
    try:
        if isinstance(node.value, dict):
            fields = node.fields(EXPRESSION)
            return expression(fields["expression"].text(), fields["otherwise"].number())
        return constant(node.number())
    except StrengthError as error:
        raise node.fail(f"{error}") from error


def _examples(root: Node) -> Iterator[WorkedExample]:
    fields = dict(root.items())
    for node in fields["tests"].elements() if "tests" in fields else []:
        test = node.fields(EXAMPLE)
        relations = tuple(_ends(each) for each in test["relations"].elements()) if "relations" in test else ()
        numbers = {part: {key: each.number() for key, each in test[part].items()} if part in test else {} for part in ("live", "symptoms", "findings")}
        yield WorkedExample(
            name=test["name"].text(),
            location=f"{node.file}:{node.line}",
            entities={each.text(): each.text().split(":")[0] for each in test["entities"].elements()},
            relations=relations,
            live=numbers["live"],
            causes=tuple(each.text() for each in test["causes"].elements()) if "causes" in test else (),
            symptoms=numbers["symptoms"],
            findings=numbers["findings"],
            first=test["first"].text() if "first" in test else "",
            unlike=test["unlike"].text() if "unlike" in test else "",
        )


def _ends(node: Node) -> tuple[str, str, str]:
    match [end.text() for end in node.elements()]:
        case [source, kind, target]:
            return source, kind, target
        case _:
            raise node.fail("[source, relation, target] is needed here.")
