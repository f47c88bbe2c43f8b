"""Causal knowledge from YAML: every mistake is told with its file, line and nearest name, and a broken file refuses the whole load."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from schema.attributes import ATTRIBUTES
from schema.detectors import DETECTORS
from schema.kinds import ENTITY_KINDS
from schema.knowledge import CausalKnowledge, CauseLink, ConditionRule, DefectRule, KindKnowledge, PropagationRule, RemedyRule, Strength, Toward, WorkedExample
from schema.relations import RELATION_KINDS
from schema.strength import StrengthError, constant, expression
from schema.windows import ChangeKind

PACKAGED = Path(__file__).parent / "causal"


class CausalModelError(Exception):
    """A rule file that can't be used; the message names file, line and the nearest name."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A YAML value that knows where it stands."""

    file: str
    line: int
    value: Any

    def fail(self, problem: str) -> CausalModelError:
        return CausalModelError(f"{self.file}:{self.line}: {problem}")

    def items(self) -> list[tuple[str, _Node]]:
        if not isinstance(self.value, dict):
            raise self.fail("a mapping is needed here.")
        return list(self.value.items())

    def elements(self) -> list[_Node]:
        if not isinstance(self.value, list):
            raise self.fail("a list is needed here.")
        return list(self.value)

    def fields(self, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, _Node]:
        found = dict(self.items())
        for key, node in found.items():
            if key not in required + optional:
                raise node.fail(f'the key "{key}" is not known here.{_near(key, required + optional)}')
        for key in required:
            if key not in found:
                raise self.fail(f'the key "{key}" is missing here.')
        return found

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.fail("a text is needed here.")
        return self.value.strip()

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self.fail(f"a number is needed here, not {self.value!r}.")
        return float(self.value)

    def probability(self) -> float:
        number = self.number()
        if not 0.0 < number < 1.0:
            raise self.fail(f"a probability between 0 and 1 is needed here, not {number:g}.")
        return number

    def one_of(self, what: str, names: Mapping[str, object]) -> str:
        name = self.text()
        if name not in names:
            raise self.fail(f'{what} "{name}" does not exist.{_near(name, tuple(names))}')
        return name


def load_knowledge(directory: Path | None = None) -> CausalKnowledge:
    """All rule files of a directory (None: the packaged ones). Raises CausalModelError."""
    folder = directory or PACKAGED
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise CausalModelError(f"{folder}: no rule files (*.yaml) are here: choose another knowledge directory.")
    digest = hashlib.sha256()
    roots = []
    for file in files:
        content = file.read_bytes()
        digest.update(file.name.encode() + b"\0" + content)
        roots.append(_parse(f"schema/causal/{file.name}" if directory is None else str(file), content))
    kinds: dict[str, KindKnowledge] = {}
    for root in roots:
        kind = _kind(root)
        if kind.kind in kinds:
            raise root.fail(f'the kind "{kind.kind}" is described in two files.')
        kinds[kind.kind] = kind
    propagation = tuple(rule for root in roots for rule in _propagation(root, kinds))
    examples = tuple(example for root in roots for example in _examples(root))
    return CausalKnowledge(digest.hexdigest()[:12], kinds, propagation, examples)


def _parse(name: str, content: bytes) -> _Node:
    try:
        node = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CausalModelError(f"{name}:{line}: this is no YAML: {error.problem}.") from error
    if node is None:
        raise CausalModelError(f"{name}:1: the file is empty.")
    return _wrap(name, node)


def _wrap(file: str, node: yaml.Node) -> _Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        found: dict[str, _Node] = {}
        for key, value in node.value:
            if key.value in found:
                raise CausalModelError(f'{file}:{key.start_mark.line + 1}: the key "{key.value}" stands here twice.')
            found[key.value] = _Node(file, key.start_mark.line + 1, _wrap(file, value).value)
        return _Node(file, line, found)
    if isinstance(node, yaml.SequenceNode):
        return _Node(file, line, [_wrap(file, each) for each in node.value])
    return _Node(file, line, SafeConstructor().construct_object(node))


def _kind(root: _Node) -> KindKnowledge:
    fields = root.fields(("kind", "conditions"), ("defects", "implies", "propagation", "tests"))
    kind = fields["kind"].one_of("entity kind", ENTITY_KINDS)
    conditions = {name: _condition(name, node) for name, node in fields["conditions"].items()}
    defects: dict[str, DefectRule] = {}
    links: list[CauseLink] = []
    for name, node in fields["defects"].items() if "defects" in fields else []:
        if name in conditions:
            raise node.fail(f'"{name}" is a condition already: a defect needs another name.')
        defects[name] = _defect(name, node)
        links += _links(name, dict(node.items())["causes"], kind, conditions)
    for name, node in fields["implies"].items() if "implies" in fields else []:
        _exists(node, name, kind, conditions)
        links += _links(name, node, kind, conditions)
    return KindKnowledge(kind, conditions, defects, tuple(links))


def _condition(name: str, node: _Node) -> ConditionRule:
    fields = node.fields(("summary",), ("attribute", "detector", "leak", "false_positive", "false_negative"))
    attribute = fields["attribute"].one_of("attribute", ATTRIBUTES) if "attribute" in fields else ""
    detector = fields["detector"].one_of("detector", DETECTORS) if "detector" in fields else ""
    rates = {
        key: fields[key].probability() if key in fields else default for key, default in (("leak", 2e-5), ("false_positive", 0.005), ("false_negative", 0.1))
    }
    return ConditionRule(name, fields["summary"].text(), attribute, detector, **rates)


def _defect(name: str, node: _Node) -> DefectRule:
    fields = node.fields(("summary", "prior_per_hour", "causes", "remedies", "source"), ("raised_by", "only_with", "only_without"))
    changes = {kind.value: kind for kind in ChangeKind}
    raised = {}
    for change, factor in fields["raised_by"].items() if "raised_by" in fields else []:
        if change not in changes:
            raise factor.fail(f'change "{change}" does not exist.{_near(change, tuple(changes))}')
        raised[change] = factor.number()
    remedies = tuple(
        RemedyRule(**{key: each.text() for key, each in remedy.fields(("action", "effect", "risk")).items()}) for remedy in fields["remedies"].elements()
    )
    only = {key: fields[key].one_of("relation", RELATION_KINDS) if key in fields else "" for key in ("only_with", "only_without")}
    return DefectRule(name, fields["summary"].text(), fields["prior_per_hour"].probability(), raised, remedies, fields["source"].text(), **only)


def _links(cause: str, node: _Node, kind: str, conditions: Mapping[str, ConditionRule]) -> Iterator[CauseLink]:
    for effect, strength in node.items():
        _exists(strength, effect, kind, conditions)
        yield CauseLink(cause, effect, strength.probability())


def _exists(node: _Node, condition: str, kind: str, conditions: Mapping[str, object]) -> None:
    if condition not in conditions:
        raise node.fail(f'condition "{condition}" of kind "{kind}" does not exist.{_near(condition, tuple(conditions))}')


def _propagation(root: _Node, kinds: Mapping[str, KindKnowledge]) -> Iterator[PropagationRule]:
    fields = dict(root.items())
    from_kind = fields["kind"].text()
    for node in fields["propagation"].elements() if "propagation" in fields else []:
        rule = node.fields(("over", "toward", "cause", "to", "effect", "strength"))
        to_kind = rule["to"].one_of("entity kind with rules", kinds)
        cause, effect = rule["cause"].text(), rule["effect"].text()
        source = kinds[from_kind]
        if cause not in source.defects:
            _exists(rule["cause"], cause, from_kind, source.conditions)
        _exists(rule["effect"], effect, to_kind, kinds[to_kind].conditions)
        toward = Toward(rule["toward"].one_of("end of a relation", {end.value: end for end in Toward}))
        yield PropagationRule(rule["over"].one_of("relation", RELATION_KINDS), toward, from_kind, cause, to_kind, effect, _strength(rule["strength"]))


def _strength(node: _Node) -> Strength:
    try:
        if isinstance(node.value, dict):
            fields = node.fields(("expression", "otherwise"))
            return expression(fields["expression"].text(), fields["otherwise"].number())
        return constant(node.number())
    except StrengthError as error:
        raise node.fail(f"{error}") from error


def _examples(root: _Node) -> Iterator[WorkedExample]:
    fields = dict(root.items())
    for node in fields["tests"].elements() if "tests" in fields else []:
        test = node.fields(("name", "entities"), ("relations", "live", "causes", "symptoms", "findings", "first"))
        relations = tuple(tuple(end.text() for end in each.elements()) for each in test["relations"].elements()) if "relations" in test else ()
        numbers = {part: {key: each.number() for key, each in test[part].items()} if part in test else {} for part in ("live", "symptoms", "findings")}
        yield WorkedExample(
            name=test["name"].text(),
            location=f"{node.file}:{node.line}",
            entities={each.text(): each.text().split(":")[0] for each in test["entities"].elements()},
            relations=tuple((source, kind, target) for source, kind, target in relations),
            live=numbers["live"],
            causes=tuple(each.text() for each in test["causes"].elements()) if "causes" in test else (),
            symptoms=numbers["symptoms"],
            findings=numbers["findings"],
            first=test["first"].text() if "first" in test else "",
        )


def _near(name: str, names: tuple[str, ...]) -> str:
    near = get_close_matches(name, names, 1)
    return f' Did you mean "{near[0]}"?' if near else ""
