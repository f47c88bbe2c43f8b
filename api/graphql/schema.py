"""The schema: types, root fields, limits and executor put together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import strawberry
from graphql import GraphQLError, GraphQLInputObjectType, GraphQLNamedType, GraphQLObjectType, Undefined
from strawberry.extensions import AddValidationRules, MaxTokensLimiter, ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from api.graphql.errors import settle_errors
from api.graphql.executor import ProjectingExecutor
from api.graphql.limits import CostLimit, Limits, shape_rule
from api.graphql.query_estate import EstateQuery
from api.graphql.query_explanation import ExplanationQuery
from api.graphql.query_status import StatusQuery
from api.graphql.query_verdicts import Subscription, VerdictQuery
from api.graphql.scalars import Instant, date_time

CACHED_DOCUMENTS = 256


@strawberry.type
class Query(EstateQuery, VerdictQuery, ExplanationQuery, StatusQuery):
    pass


class GraphQLSchema(strawberry.Schema):
    """strawberry's schema; errors are given a code, and logged only if they are ours. What may be left out has no default of null."""

    def __init__(self, query: type, subscription: type, **options: Any) -> None:
        super().__init__(query, subscription=subscription, **options)
        for kind in self._schema.type_map.values():
            _forget_null_defaults(kind)

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:  # noqa: ARG002 - strawberry's signature
        """Called by strawberry with the errors of each result, before they leave."""
        settle_errors(errors)


def _forget_null_defaults(kind: GraphQLNamedType) -> None:
    # strawberry declares `= null` for every argument of Python's that defaults to None; clients would see it sent.
    if isinstance(kind, GraphQLObjectType):
        for field in kind.fields.values():
            for argument in field.args.values():
                if argument.default_value is None:
                    argument.default_value = Undefined
    elif isinstance(kind, GraphQLInputObjectType):
        for entry in kind.fields.values():
            if entry.default_value is None:
                entry.default_value = Undefined


class CachedParsing(ParserCache):
    """What can't be parsed is left to strawberry, which tells it as a syntax error; the cache's own error ends a websocket operation untold."""

    def on_parse(self) -> Iterator[None]:
        """Called by strawberry before it parses."""
        with suppress(GraphQLError, RecursionError):
            context = self.execution_context
            context.graphql_document = self.cached_parse_document(context.query, **context.parse_options)
        yield


def make_schema(limits: Limits | None = None) -> GraphQLSchema:
    """The schema with its limits in force."""
    limits = limits or Limits()
    rules = [shape_rule(limits)]
    return GraphQLSchema(
        query=Query,
        subscription=Subscription,
        execution_context_class=ProjectingExecutor,
        config=StrawberryConfig(scalar_map={Instant: date_time()}),
        extensions=[
            lambda: AddValidationRules(rules),
            lambda: MaxTokensLimiter(limits.tokens),
            lambda: CachedParsing(CACHED_DOCUMENTS),
            lambda: ValidationCache(CACHED_DOCUMENTS),
            lambda: CostLimit(limits.nodes),
        ],
    )


def print_schema() -> str:
    """The schema in GraphQL's own language, as docs/schema.graphql holds it."""
    return make_schema().as_str().rstrip() + "\n"
