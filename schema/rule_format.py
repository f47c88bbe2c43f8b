"""What may stand in a rule file and in overrides.yaml: the keys, their forms and what they mean. The loader reads by it, editors get it as JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schema.attributes import ATTRIBUTES
from schema.detectors import DETECTORS
from schema.kinds import ENTITY_KINDS
from schema.knowledge import STRENGTH_VARIABLES, Toward
from schema.relations import RELATION_KINDS
from schema.windows import ChangeKind

Form = Mapping[str, object]

TEXT: Form = {"type": "string", "minLength": 1}
NUMBER: Form = {"type": "number"}
PROBABILITY: Form = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a mapping. `form`: its JSON Schema. `required`: unless the same thing stands below in the knowledge that is overlaid."""

    name: str
    summary: str
    form: Form
    required: bool = False


Shape = tuple[Key, ...]


def names(shape: Shape, *, required: bool) -> tuple[str, ...]:
    """The keys that must, or that may but need not, stand in a mapping."""
    return tuple(key.name for key in shape if key.required is required)


def _one_of(choices: Mapping[str, object]) -> Form:
    return {"type": "string", "enum": sorted(choices)}


def _each(form: Form) -> Form:
    return {"type": "object", "additionalProperties": form}


def _list(form: Form) -> Form:
    return {"type": "array", "items": form}


def _named(definition: str) -> Form:
    """Named things, of which an overlay may remove one with null."""
    return _each({"anyOf": [{"$ref": f"#/$defs/{definition}"}, {"type": "null"}]})


REMOVABLE: Form = {"anyOf": [PROBABILITY, {"type": "null"}]}
KIND = Key("kind", "The kind of entity the file is about.", _one_of(ENTITY_KINDS), required=True)
CONDITION: Shape = (
    Key("summary", "What holds, in a sentence.", TEXT, required=True),
    Key("attribute", "The measured quantity that shows it.", _one_of(ATTRIBUTES)),
    Key("detector", "What judges it; without one the condition is hidden and only carries causes.", _one_of(DETECTORS)),
    Key("leak", "P(holds | no known cause); 0.00002 unless said.", PROBABILITY),
    Key("false_positive", "P(detector fires | does not hold); 0.005 unless said.", PROBABILITY),
    Key("false_negative", "P(detector silent | holds); 0.1 unless said.", PROBABILITY),
    Key("shows_after", "Seconds it holds before what is measured can show it; 0 unless said.", {"type": "number", "minimum": 0}),
)
DEFECT: Shape = (
    Key("summary", "What is wrong, in a sentence.", TEXT, required=True),
    Key("prior_per_hour", "How often it happens to an entity.", PROBABILITY, required=True),
    Key("causes", "Condition of the same entity -> P(it holds | this defect alone).", _each(REMOVABLE), required=True),
    Key("remedies", "What would fix it.", _list({"$ref": "#/$defs/remedy"}), required=True),
    Key("source", 'Who says how often; "guess" is valid, and counted.', TEXT, required=True),
    Key(
        "sources", "Change of raised_by, or condition of causes -> who says that number, where it is not the source of the defect or of the file.", _each(TEXT)
    ),
    Key("owner", "Who can mend it, where that is not the owner of the kind.", TEXT),
    Key(
        "raised_by",
        "Change -> factor on the prior, fading over an hour.",
        {**_each(NUMBER), "propertyNames": _one_of({kind.value: kind for kind in ChangeKind})},
    ),
    Key("only_with", "A relation the entity must be the source of.", _one_of(RELATION_KINDS)),
    Key("only_without", "A relation the entity must not be the target of.", _one_of(RELATION_KINDS)),
)
REMEDY: Shape = (
    Key("action", "What to do.", TEXT, required=True),
    Key("effect", "What is expected then.", TEXT, required=True),
    Key("risk", "What it may cost.", TEXT, required=True),
)
EXPRESSION: Shape = (
    Key("expression", f"Numbers, + - * /, min, max and: {', '.join(STRENGTH_VARIABLES)}.", TEXT, required=True),
    Key("otherwise", "The strength while what the expression needs is not known.", {"type": "number", "minimum": 0, "maximum": 1}, required=True),
)
PROPAGATION: Shape = (
    Key("over", "The relation it travels along.", _one_of(RELATION_KINDS), required=True),
    Key("toward", "Which end of the relation it travels to.", _one_of({end.value: end for end in Toward}), required=True),
    Key("cause", "A defect or condition of the file's kind.", TEXT, required=True),
    Key("to", "The kind at the other end.", _one_of(ENTITY_KINDS), required=True),
    Key("effect", "A condition of that kind.", TEXT, required=True),
    Key(
        "strength",
        "P(effect | this cause alone); null removes the rule.",
        {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"$ref": "#/$defs/expression"}, {"type": "null"}]},
        required=True,
    ),
    Key("source", "Who says so, where it is not the source of the file.", TEXT),
)
EXAMPLE: Shape = (
    Key("name", "What the example shows.", TEXT, required=True),
    Key("entities", "References, kind:cluster/namespace/name.", _list(TEXT), required=True),
    Key("relations", "[source, relation, target].", _list({"type": "array", "items": TEXT, "minItems": 3, "maxItems": 3})),
    Key("live", "Live attributes of all relations.", {**_each(NUMBER), "propertyNames": _one_of(STRENGTH_VARIABLES)}),
    Key("causes", "Defects or conditions made to hold, entity.name.", _list(TEXT)),
    Key("symptoms", "What must follow from the causes, with at least this probability.", _each(NUMBER)),
    Key("findings", "Condition -> log-likelihood ratio.", _each(NUMBER)),
    Key("first", "The defect that must rank first under the findings.", TEXT),
    Key("unlike", "The defect that the findings look like at first sight, and that must stay well behind.", TEXT),
)
RULES: Shape = (
    KIND,
    Key("conditions", "Abnormal states, by name.", _named("condition"), required=True),
    Key("source", 'Where the strengths and rates of the file come from; "guess" is valid, and counted.', TEXT),
    Key("owner", "Who usually owns entities of the kind.", TEXT),
    Key("replaces", "In an overlay: true if nothing of the packaged kind is kept.", {"type": "boolean"}),
    Key("defects", "Ways the kind fails by itself, by name.", _named("defect")),
    Key("implies", "Condition -> conditions of the same entity it makes hold.", _each(_each(REMOVABLE))),
    Key("propagation", "How it travels to neighbours.", _list({"$ref": "#/$defs/propagation"})),
    Key("tests", "Worked examples.", _list({"$ref": "#/$defs/example"})),
)
SELECTOR: Shape = (
    KIND,
    Key("cluster", "Its cluster.", {"type": "string"}),
    Key("namespace", "Its namespace.", {"type": "string"}),
    Key("name", "Its name; * and ? stand for any characters and for one.", TEXT),
    Key("labels", "Attribute of the entity -> value.", _each(TEXT)),
)
OVERRIDE: Shape = (
    Key("select", "Which entities.", {"$ref": "#/$defs/selector"}, required=True),
    Key("prior_per_hour", "Defect -> how often it happens to these.", _each(PROBABILITY)),
    Key("threshold", "Condition -> the least difference, in its attribute's unit, that anyone would act on.", _each({"type": "number", "exclusiveMinimum": 0})),
)
OVERRIDES: Shape = (Key("overrides", "What differs for some entities.", _list({"$ref": "#/$defs/override"}), required=True),)
