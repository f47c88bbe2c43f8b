"""Asking a runtime by GraphQL without HTTP."""

from __future__ import annotations

from functools import cache
from typing import Any

from strawberry.types import ExecutionResult

from api.graphql.context import Context
from api.graphql.diagnosis_pages import DiagnosisPages
from api.graphql.entity_index import EntityIndex
from api.graphql.schema import GraphQLSchema, make_schema
from api.runtime import Runtime


def context_of(runtime: Runtime, seconds: float = 10.0) -> Context:
    """A clock that stands still: no deadline is ever met."""
    return Context(runtime, EntityIndex(runtime.pipeline.graph), DiagnosisPages(), "1.2.3", seconds, lambda: 0.0)


async def execute(runtime: Runtime, query: str, variables: dict[str, Any] | None = None, schema: GraphQLSchema | None = None) -> ExecutionResult:
    """The result as it is."""
    return await (schema or _schema()).execute(query, variable_values=variables, context_value=context_of(runtime))


async def ask(runtime: Runtime, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    """The data; there must be no error."""
    result = await execute(runtime, query, variables)
    assert result.errors is None, result.errors
    assert result.data is not None
    return result.data


async def refused(runtime: Runtime, query: str, code: str, variables: dict[str, Any] | None = None) -> str:
    """The message of the one error, which must have this code."""
    result = await execute(runtime, query, variables)
    assert result.errors is not None, result.data
    assert [(error.extensions or {}).get("code") for error in result.errors] == [code]
    return result.errors[0].message


@cache
def _schema() -> GraphQLSchema:
    return make_schema()
