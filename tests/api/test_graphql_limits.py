"""What one request may ask for: depth, breadth, aliases, tokens, cost, time."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from graphql import parse
from hypothesis import given
from hypothesis import strategies as st

from api.graphql.limits import CostLimit, Limits, shape_rule
from api.graphql.schema import GraphQLSchema, make_schema
from api.runtime import Runtime
from tests.api import synthetic_estate as estate
from tests.api.asking import context_of, execute


@pytest.fixture
async def runtime() -> Runtime:
    return await estate.runtime()


async def codes(runtime: Runtime, query: str, schema: GraphQLSchema, variables: dict[str, object] | None = None) -> list[object]:
    result = await execute(runtime, query, variables, schema)
    return [(error.extensions or {}).get("code") for error in result.errors or ()]


async def test_depth_is_counted_through_fragments(runtime: Runtime) -> None:
    schema = make_schema(Limits(depth=4))
    assert await codes(runtime, "{ entities(first: 1) { edges { node { id } } } }", schema) == []
    too_deep = "{ entities(first: 1) { edges { ...E } } } fragment E on EntityEdge { node { ... on Node { id } attributes { name } } }"
    assert await codes(runtime, too_deep, schema) == ["QUERY_TOO_LARGE"]


async def test_breadth_is_counted_through_fragments(runtime: Runtime) -> None:
    schema = make_schema(Limits(fields=7))
    assert await codes(runtime, "{ status { ...S } } fragment S on Status { at ready entities relations version knowledge }", schema) == []
    assert await codes(runtime, "{ status { ...S } again: status { ...S } } fragment S on Status { at ready entities relations }", schema) == [
        "QUERY_TOO_LARGE"
    ]


async def test_aliases_are_limited(runtime: Runtime) -> None:
    schema = make_schema(Limits(aliases=2))
    assert await codes(runtime, "{ a: status { at } b: status { at } }", schema) == []
    assert await codes(runtime, "{ a: status { at } b: status { c: at } }", schema) == ["QUERY_TOO_LARGE"]


async def test_tokens_are_limited(runtime: Runtime) -> None:
    schema = make_schema(Limits(tokens=50))
    assert await codes(runtime, "{ status { at } }", schema) == []
    assert await codes(runtime, "{ status { " + "at " * 50 + "} }", schema) == ["GRAPHQL_PARSE_FAILED"]


@pytest.mark.parametrize(
    ("query", "variables", "fits"),
    [
        ("{ entities(first: 9) { edges { node { id } } } }", None, True),
        ("{ entities(first: 40) { edges { node { id } } } }", None, False),
        ("{ entities(last: 40) { edges { node { id } } } }", None, False),
        ("query ($n: Int) { entities(first: $n) { edges { node { id } } } }", {"n": 9}, True),
        ("query ($n: Int) { entities(first: $n) { edges { node { id } } } }", {"n": 40}, False),
        ("query ($n: Int = 40) { entities(first: $n) { edges { node { id } } } }", None, False),
        ("query ($n: Int = 40) { entities(first: $n) { edges { node { id } } } }", {"n": 9}, True),
        ("{ ...A ...B } fragment A on Query { entities(first: 20) { ...E } } fragment B on Query { b: entities(first: 20) { ...E } } fragment E on EntityConnection { edges { node { id } } }", None, False),
        ('{ topology(root: "service:c1/web/shop") { at } }', None, True),
        ('{ topology(root: "service:c1/web/shop") { entities { id } } }', None, False),
        ("query A { status { at } } query B { entities(first: 90) { edges { node { id } } } }", None, False),
    ],
)  # fmt: skip
async def test_the_cost_is_the_product_of_the_sizes_asked_for(runtime: Runtime, query: str, variables: dict[str, object] | None, *, fits: bool) -> None:
    schema = make_schema(Limits(nodes=100))
    result = await schema.execute(query, variable_values=variables, context_value=context_of(runtime), operation_name="B" if "query B" in query else None)
    assert [(error.extensions or {}).get("code") for error in result.errors or ()] == ([] if fits else ["QUERY_TOO_LARGE"])


async def test_too_costly_a_query_resolves_nothing(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "status", lambda: pytest.fail("resolved"))
    assert await codes(runtime, "{ status { at } entities(first: 100) { edges { node { id } } } }", make_schema(Limits(nodes=100))) == ["QUERY_TOO_LARGE"]


async def test_the_largest_topology_fits_the_limits(runtime: Runtime) -> None:
    query = """{ topology(root: "service:c1/web/shop", depth: 5) { at root truncated entities { id kind attributes { name value } }
        relations { source target statistics { requests } } } }"""
    assert await codes(runtime, query, make_schema()) == []


@pytest.mark.parametrize("rule", ["shape", "cost"])
async def test_fragments_of_fragments_cost_no_more_than_their_text(rule: str) -> None:
    levels = 120
    fragments = " ".join(f"fragment F{level} on Query {{ ...F{level + 1} ...F{level + 1} }}" for level in range(levels))
    query = f"{{ ...F0 }} {fragments} fragment F{levels} on Query {{ entities(first: 2) {{ edges {{ cursor }} }} }}"
    start = time.process_time()
    document = parse(query)
    if rule == "shape":
        from api.graphql.limits import _Measure  # noqa: PLC0415

        assert _Measure(document).shape(document.definitions[0].selection_set).fields == 3 * 2**levels  # type: ignore[attr-defined]  # an operation
    else:
        from api.graphql.limits import _Cost  # noqa: PLC0415

        assert _Cost(document, {}).nodes(document.definitions[0].selection_set, "") == 4 * 2**levels  # type: ignore[attr-defined]  # an operation
    assert time.process_time() - start < 5


async def test_fragments_in_a_circle_are_refused(runtime: Runtime) -> None:
    query = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A status { at } }"
    assert "GRAPHQL_VALIDATION_FAILED" in await codes(runtime, query, make_schema())


@pytest.mark.parametrize("levels", [20, 60, 100, 150, 200, 300, 600])
async def test_nesting_however_deep_is_never_our_fault(runtime: Runtime, caplog: pytest.LogCaptureFixture, levels: int) -> None:
    schema = make_schema(Limits(tokens=10_000))
    inline = "{" + "... {" * levels + "status { at }" + "}" * (levels + 1)
    fields = "{" + "status {" * levels + "at" + "}" * (levels + 1)
    literal = "{ whatIf(do: " + "[" * levels + "]" * levels + ") { causes { entity } } }"
    for query in (inline, fields, literal):
        assert set(await codes(runtime, query, schema)) <= {"QUERY_TOO_LARGE", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"}
    assert [record for record in caplog.records if record.name == "whence.graphql"] == []


async def test_an_unknown_fragment_is_refused(runtime: Runtime) -> None:
    assert "GRAPHQL_VALIDATION_FAILED" in await codes(runtime, "{ ...Nobody }", make_schema())


@given(st.text(max_size=60))
async def test_any_text_is_answered_with_a_code_and_never_as_our_fault(text: str) -> None:
    runtime = await estate.runtime()
    if text.strip(" \t\r\n,\ufeff"):
        result = await execute(runtime, text)
        assert result.errors
        assert {(error.extensions or {}).get("code") for error in result.errors} <= {"GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"}


async def test_an_execution_past_its_time_is_stopped(runtime: Runtime) -> None:
    estate.believe(runtime, estate.diagnosis(causes=50))
    ticks = iter(range(10_000))
    context = context_of(runtime, seconds=0.5)
    late = replace(context, clock=lambda: float(next(ticks)))
    result = await make_schema().execute("{ rootCauses { entity evidence { observed } } }", context_value=late)
    assert result.data is None
    assert [(error.extensions or {}).get("code") for error in result.errors or ()] == ["DEADLINE_EXCEEDED"]


def test_the_rule_is_made_once_for_a_schema() -> None:
    schema = make_schema()
    rules = [extension.validation_rules for extension in schema.get_extensions() if hasattr(extension, "validation_rules")]
    assert rules == [extension.validation_rules for extension in schema.get_extensions() if hasattr(extension, "validation_rules")]
    assert shape_rule(Limits()) is not shape_rule(Limits())
    assert any(isinstance(extension, CostLimit) for extension in schema.get_extensions())
