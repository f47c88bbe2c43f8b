"""Users' rule files over the packaged ones, and overrides of single entities."""

from __future__ import annotations

from pathlib import Path

import pytest

from schema.identity import EntityRef
from schema.loader import CausalModelError, load_knowledge
from schema.overrides import overridden

DATABASE = EntityRef("database", "c", "shop", "orders-db")


def lay(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_an_overlay_changes_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    packaged = load_knowledge()
    text = (
        "kind: database\ndefects:\n  slow_query: {prior_per_hour: 0.02}\npropagation:\n"
        "  - {over: queries, toward: source, cause: latency_high, to: service, effect: pool_use_high, strength: 0.9}\n"
    )
    found = load_knowledge(lay(tmp_path, mine=text))
    assert found.kinds["database"].defects["slow_query"].prior_per_hour == 0.02
    assert found.kinds["database"].defects["slow_query"].remedies == packaged.kinds["database"].defects["slow_query"].remedies
    assert found.kinds["database"].defects["unavailable"] == packaged.kinds["database"].defects["unavailable"]
    assert found.kinds["service"] == packaged.kinds["service"]
    assert len(found.propagation) == len(packaged.propagation)
    changed = [rule.strength.otherwise for rule in found.propagation if (rule.from_kind, rule.effect) == ("database", "pool_use_high")]
    assert changed == [0.9]
    assert found.version != packaged.version


def test_null_removes_what_it_names_and_a_name_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = load_knowledge(lay(tmp_path, mine="kind: endpoint\ntests: []\ndefects: {}\npropagation: []\n"))
    assert "endpoint_regression" in found.kinds["endpoint"].defects
    found = load_knowledge(lay(tmp_path, mine="kind: database\ndefects:\n  lock_contention: null\n"))
    assert "lock_contention" not in found.kinds["database"].defects
    with pytest.raises(CausalModelError, match=r'mine\.yaml:3: there is no "lock_contentoin" to remove here\. Did you mean "lock_contention"\?'):
        load_knowledge(lay(tmp_path, mine="kind: database\ndefects:\n  lock_contentoin: null\n"))


def test_a_kind_can_be_replaced_whole(tmp_path: Path) -> None:
    text = "kind: endpoint\nreplaces: true\nconditions:\n  latency_high: {summary: Slow., detector: slower}\n  errors_high: {summary: Failing., detector: failing}\n"
    kind = load_knowledge(lay(tmp_path, mine=text)).kinds["endpoint"]
    assert not kind.defects
    assert set(kind.conditions) == {"latency_high", "errors_high"}


def test_what_the_rest_still_needs_can_not_be_removed(tmp_path: Path) -> None:
    with pytest.raises(CausalModelError, match=r'condition "errors_high" of kind "endpoint" does not exist'):
        load_knowledge(lay(tmp_path, mine="kind: endpoint\nreplaces: true\nconditions:\n  latency_high: {summary: Slow., detector: slower}\n"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: databse\n", r'mine\.yaml:1: entity kind "databse" does not exist\. Did you mean "database"\?'),
        ("conditions: {}\n", r'mine\.yaml:1: the key "kind" is missing here'),
        (
            "kind: database\ndefects:\n  slow_query: {sources: {deplyo: me}}\n",
            r'mine\.yaml:3: "deplyo" is neither in raised_by nor in causes\. Did you mean "deploy"\?',
        ),
        ("kind: database\nconditions:\n  errors_high: {shows_after: -1}\n", r"mine\.yaml:3: a number of at least 0 is needed here, not -1"),
        (
            "kind: database\ndefects:\n  slow_qery: {prior_per_hour: 0.1}\n",
            r'mine\.yaml:3: there is no "slow_qery" to change here, .* Did you mean "slow_query"\?',
        ),
        ("kind: database\nreplaces: maybe\n", r"mine\.yaml:2: true or false is needed here"),
        ("kind: database\ndefects:\n  slow_query: {prior: 0.1}\n", r'mine\.yaml:3: the key "prior" is not known here'),
        ("kind: [\n", r"this is no YAML"),
        ("kind: database\ntests:\n  - {name: a, entities: [], relations: [[a, b]]}\n", r"\[source, relation, target\] is needed here"),
    ],
)
def test_a_file_with_an_error_refuses_the_whole_load_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(CausalModelError, match=told):
        load_knowledge(lay(tmp_path, mine=text))


def test_the_narrower_override_wins(tmp_path: Path) -> None:
    text = """\
overrides:
  - {select: {kind: database, name: orders-db}, prior_per_hour: {slow_query: 0.03}}
  - {select: {kind: database}, prior_per_hour: {slow_query: 0.01, unavailable: 0.002}, threshold: {lock_waits_high: 7}}
  - {select: {kind: database, name: orders-db, labels: {tier: gold}}, prior_per_hour: {slow_query: 0.04}}
"""
    overrides = load_knowledge(lay(tmp_path, overrides=text)).overrides
    assert overridden(overrides, DATABASE, {}) == ({"slow_query": 0.03, "unavailable": 0.002}, {"lock_waits_high": 7.0})
    assert overridden(overrides, DATABASE, {"tier": "gold"})[0]["slow_query"] == 0.04
    assert overridden(overrides, EntityRef("database", "c", "shop", "items-db"), {})[0]["slow_query"] == 0.01
    assert overridden(overrides, EntityRef("cache", "c", "shop", "orders-db"), {}) == ({}, {})


def test_overrides_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    text = """\
overrides:
  - {select: {kind: database, name: "orders*"}, prior_per_hour: {slow_query: 0.03}}
  - {select: {kind: database, labels: {tier: gold}}, prior_per_hour: {slow_query: 0.01}}
"""
    with pytest.raises(CausalModelError, match=r'overrides\.yaml:3: "slow_query" is 0\.01 here and 0\.03 at .*overrides\.yaml:2'):
        load_knowledge(lay(tmp_path, overrides=text))
    assert len(load_knowledge(lay(tmp_path, overrides=text.replace("0.03", "0.01"))).overrides) == 2
    assert len(load_knowledge(lay(tmp_path, overrides=text.replace("labels: {tier: gold}", "name: items-db"))).overrides) == 2


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{select: {kind: database}, prior_per_hour: {slow_qery: 0.1}}", r'defect "slow_qery" of kind "database" does not exist\. Did you mean "slow_query"\?'),
        ("{select: {kind: database}, threshold: {latency_high: 1}}", r'condition "latency_high" has no threshold.*lock_waits_high'),
        ("{select: {kind: database}, threshold: {lock_waits_high: 0}}", r"a threshold above 0 is needed here"),
        ("{select: {kind: database}}", r"this overrides nothing"),
        ("{select: {kind: volume}, prior_per_hour: {full: 0.1}}", r'no rules describe the kind "volume"'),
    ],
)
def test_an_override_of_what_is_not_there_is_refused(tmp_path: Path, entry: str, told: str) -> None:
    with pytest.raises(CausalModelError, match=told):
        load_knowledge(lay(tmp_path, overrides=f"overrides:\n  - {entry}\n"))
