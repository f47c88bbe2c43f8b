"""The JSON Schema of rule files and overrides.yaml, for editors: generated from schema/rule_format.py."""

from __future__ import annotations

import json

from schema.rule_format import CONDITION, DEFECT, EXAMPLE, EXPRESSION, OVERRIDE, OVERRIDES, PROPAGATION, REMEDY, RULES, SELECTOR, Form, Shape, names


def json_schema() -> dict[str, object]:
    """One schema for both sorts of file. Keys an overlay may leave out, for they stand in what it overlays, are not demanded; the loader does."""
    whole = {"remedy": REMEDY, "expression": EXPRESSION, "propagation": PROPAGATION, "example": EXAMPLE, "selector": SELECTOR, "override": OVERRIDE}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Causal knowledge of Whence",
        "if": {"required": ["overrides"]},
        "then": {"$ref": "#/$defs/overrides"},
        "else": {"$ref": "#/$defs/rules"},
        "$defs": {
            "rules": {**_object(RULES), "required": ["kind"]},
            "overrides": _demanding(OVERRIDES),
            "condition": _object(CONDITION),
            "defect": _object(DEFECT),
            **{name: _demanding(shape) for name, shape in whole.items()},
        },
    }


def json_schema_text() -> str:
    """As it is committed and printed."""
    return json.dumps(json_schema(), indent=1) + "\n"


def _object(shape: Shape) -> Form:
    return {"type": "object", "properties": {key.name: {**key.form, "description": key.summary} for key in shape}, "additionalProperties": False}


def _demanding(shape: Shape) -> Form:
    return {**_object(shape), "required": list(names(shape, required=True))}
