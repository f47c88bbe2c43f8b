"""docs/schema.graphql is the schema, and does not lose what clients rely on."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import build_schema
from graphql.utilities import find_breaking_changes

from api.graphql.schema import print_schema

PUBLISHED = Path(__file__).parents[2] / "docs" / "schema.graphql"

RELIED_ON = """
type Query {
  entity(id: ID!, at: DateTime): Entity
  entities(filter: EntityFilter, first: Int, after: String, last: Int, before: String): EntityConnection!
  topology(root: ID!, depth: Int! = 1, at: DateTime): Topology!
  diagnosis(at: DateTime, first: Int! = 20): Diagnosis!
  rootCauses(at: DateTime, first: Int! = 20): [RootCause!]!
  incidents(state: IncidentState, first: Int! = 20): [Incident!]!
  impact(entity: ID!, defect: String, condition: String, first: Int! = 50): Impact!
  whatIf(do: [InterventionInput!]!, first: Int! = 50): WhatIf!
  status: Status!
}
type Subscription { diagnoses(first: Int! = 10): Diagnosis! }
scalar DateTime
input EntityFilter { kind: String text: String }
input InterventionInput { entity: ID! name: String! value: Boolean! }
enum IncidentState { OPEN RECOVERED }
interface Node { id: ID! }
type EntityConnection { edges: [EntityEdge!]! pageInfo: PageInfo! }
type EntityEdge { cursor: String! node: Entity! }
type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
type Entity implements Node { id: ID! kind: String! service: ID firstSeen: DateTime! lastSeen: DateTime! }
type Topology { at: DateTime! root: ID! entities: [Entity!]! truncated: Boolean! }
type Diagnosis { at: DateTime exact: Boolean! stale: String! rootCauses: [RootCause!]! }
type RootCause { entity: ID! defect: String! probability: Float! onset: DateTime }
type Incident implements Node { id: ID! state: IncidentState! }
type Impact { effects: [Effect!]! }
type Effect { entity: ID! condition: String! before: Float! after: Float! }
type WhatIf { effects: [Effect!]! causes: [CauseProbability!]! }
type CauseProbability { entity: ID! defect: String! probability: Float! }
type Status { ready: Boolean! entities: Int! }
"""


def test_the_published_schema_is_the_one_that_is_served() -> None:
    assert PUBLISHED.read_text() == print_schema(), "print it: .venv/bin/whence schema > docs/schema.graphql"


@pytest.mark.parametrize("before", [RELIED_ON, PUBLISHED.read_text()], ids=["first light", "published"])
def test_nothing_that_clients_rely_on_is_taken_away(before: str) -> None:
    assert find_breaking_changes(build_schema(before), build_schema(print_schema())) == []


def test_a_field_that_goes_is_noticed() -> None:
    changed = print_schema().replace("  probability: Float!\n", "", 1)
    assert find_breaking_changes(build_schema(PUBLISHED.read_text()), build_schema(changed)) != []


def test_every_root_field_says_what_it_answers() -> None:
    schema = build_schema(print_schema())
    assert schema.query_type is not None
    assert schema.subscription_type is not None
    assert [name for name, field in {**schema.query_type.fields, **schema.subscription_type.fields}.items() if not field.description] == []
