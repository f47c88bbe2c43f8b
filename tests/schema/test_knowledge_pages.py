"""docs/knowledge/ and its JSON Schema are what the rules and the loader's format give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from schema.json_schema import json_schema_text
from schema.knowledge_pages import pages
from schema.loader import PACKAGED, load_knowledge

FOLDER = Path(__file__).parents[2] / "docs" / "knowledge"
PAGES = pages(load_knowledge())
SCHEMA: dict[str, Any] = json.loads(json_schema_text())


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_current(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name], "run `whence knowledge docs docs/knowledge`"


def test_no_page_is_left_of_a_kind_that_is_gone() -> None:
    assert {path.name for path in FOLDER.glob("*.md")} == {*PAGES, "not-covered.md", "sources.md"}


def test_every_source_that_a_rule_names_is_told() -> None:
    knowledge, told = load_knowledge(), (FOLDER / "sources.md").read_text(encoding="utf-8")
    texts = {rule.source for rule in knowledge.propagation}
    for kind in knowledge.kinds.values():
        texts |= {kind.source, *(link.source for link in kind.links)}
        texts |= {text for defect in kind.defects.values() for text in (defect.source, *defect.sources.values())}
    named = {each for text in texts if not text.startswith("guess") for each in text.split(", ") if each}
    assert named >= {"by definition", "Dean 2008", "DORA 2024"}
    assert [each for each in named if f"**{each}**".lower() not in told.lower()] == []


def test_the_committed_schema_is_current() -> None:
    assert (FOLDER / "schema.json").read_text(encoding="utf-8") == json_schema_text(), "run `whence knowledge docs docs/knowledge`"


@pytest.mark.parametrize("file", sorted(PACKAGED.glob("*.yaml")), ids=lambda file: file.name)
def test_packaged_files_fit_the_schema(file: Path) -> None:
    assert list(misfits(yaml.safe_load(file.read_text(encoding="utf-8")), SCHEMA["$defs"]["rules"])) == []


def test_a_key_or_name_that_the_loader_refuses_does_not_fit_the_schema() -> None:
    rules = SCHEMA["$defs"]["rules"]
    assert list(misfits({"kind": "nodule"}, rules))
    assert list(misfits({"kind": "node", "defcts": {}}, rules))
    assert list(misfits({"kind": "node", "conditions": {"a": {"leak": 1.5}}}, rules))
    assert list(misfits({"overrides": [{"prior_per_hour": {"down": 0.1}}]}, SCHEMA["$defs"]["overrides"]))


def misfits(value: object, form: Mapping[str, Any]) -> list[str]:
    """The part of JSON Schema that ours uses."""
    if "$ref" in form:
        return misfits(value, SCHEMA["$defs"][form["$ref"].rpartition("/")[2]])
    if "anyOf" in form:
        return [] if any(not misfits(value, each) for each in form["anyOf"]) else [f"{value!r} fits nothing"]
    types: dict[str, type | tuple[type, ...]] = {"object": dict, "array": list, "string": str, "number": (int, float), "boolean": bool, "null": type(None)}
    if not isinstance(value, types[form["type"]]):
        return [f"{value!r} is no {form['type']}"]
    found = [f"{value!r} is none of them"] if "enum" in form and value not in form["enum"] else []
    if isinstance(value, dict):
        found += [f"{key} is missing" for key in form.get("required", ()) if key not in value]
        for key, each in value.items():
            inner = form.get("properties", {}).get(key, form.get("additionalProperties"))
            found += misfits(each, inner) if inner else [f"{key} is not known"]
    if isinstance(value, list):
        found += [problem for each in value for problem in misfits(each, form["items"])]
    if isinstance(value, (int, float)):
        fits = form.get("exclusiveMinimum", -1e9) < value < form.get("exclusiveMaximum", 1e9) and form.get("minimum", -1e9) <= value <= form.get("maximum", 1e9)
        found += [] if fits else [f"{value!r} is out of range"]
    return found
