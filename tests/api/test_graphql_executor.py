"""The projection executor answers as graphql-core does: random documents over random values, some of them wrong."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
import strawberry
from graphql import DocumentNode, ExecutionResult, GraphQLSchema, execute, parse, validate
from graphql.execution import Executor
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from api.graphql import executor
from api.graphql.executor import ProjectingExecutor
from api.graphql.scalars import Instant, date_time

FAST, MORE = 500, 2_500


@strawberry.enum
class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


@strawberry.interface
class Named:
    id: strawberry.ID


@strawberry.type
class Leaf:
    count: int | None
    ratio: float
    mood: Mood
    seen: Instant | None
    deeper: list[Leaf]


@strawberry.type
class Branch(Named):
    name: str
    note: str | None
    fine: bool
    leaf: Leaf
    perhaps: Leaf | None
    leaves: list[Leaf]
    perhaps_leaves: list[Leaf] | None
    holes: list[Leaf | None]
    tags: list[str]
    numbers: list[int]

    @strawberry.field
    def computed(self, by: int = 1) -> int:
        return by + len(self.name)


@strawberry.type
class Query:
    @strawberry.field
    def branches(self, info: strawberry.Info) -> list[Branch]:
        found: list[Branch] = info.context
        return found

    @strawberry.field
    def perhaps(self, info: strawberry.Info) -> list[Branch | None] | None:
        found: list[Branch | None] = info.context
        return found

    @strawberry.field
    def named(self, info: strawberry.Info) -> list[Named]:
        found: list[Named] = info.context
        return found


class Values:
    """Random values, of which a share `wrong` has a type the schema does not allow."""

    def __init__(self, chance: random.Random, wrong: float) -> None:
        self._chance = chance
        self._wrong = wrong

    def branch(self, number: int) -> Any:
        return self._or(
            Branch(
                id=strawberry.ID(self._or(f"b{number}", 7, None)),
                name=self._or(f"n{number}", None, 5, b"x"),
                note=self._or(self._chance.choice([None, "note"]), 3),
                fine=self._or(True, None, 1, "yes"),
                leaf=self._or(self._leaf(), None, self.__class__),
                perhaps=self._chance.choice([None, self._leaf()]),
                leaves=self._or([self._leaf() for _ in range(3)], None, (self._leaf(),), {1}, "text"),
                perhaps_leaves=self._chance.choice([None, [], [self._leaf()]]),
                holes=[self._leaf(), None],
                tags=self._or(["x", "y"], None, ["x", 3], ("z",), "text"),
                numbers=[1, 2],
            ),
            None,
            self._leaf(),
            ValueError("an error as a value"),
        )

    def _leaf(self, depth: int = 1) -> Leaf:
        return Leaf(
            count=self._or(self._chance.choice([None, 1, 2]), 2**40, "x", True, 1.0, 1.5),
            ratio=self._or(1.5, float("nan"), float("inf"), 3, None, "z"),
            mood=self._or(self._chance.choice(list(Mood)), None, "good", 9),
            seen=self._or(self._chance.choice([None, Instant(1_767_600_300_250_000_000)]), "then", 1.5),
            deeper=[self._leaf(depth - 1) for _ in range(depth)],
        )

    def _or(self, value: Any, *instead: Any) -> Any:
        return self._chance.choice(instead) if self._chance.random() < self._wrong else value


class Documents:
    """Random documents, nearly all of them valid."""

    LEAF = ("count", "ratio", "mood", "seen", "__typename", "other: count", "deeper { ratio mood }")
    PLAIN = ("id", "name", "note", "fine", "__typename", "title: name", "tags", "words: tags")
    SLOW = ("numbers", "computed", "computed(by: 3)", "holes { count }")
    INNER = ("leaf", "perhaps", "leaves", "perhapsLeaves", "more: leaves")

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def document(self) -> str:
        root = self._chance.choice(["branches"] * 7 + ["perhaps", "named", "branches"])
        selection = self._selection(2)
        fragment = " fragment F on Branch { id name leaf { count } }" if "...F" in selection else ""
        head = "query ($yes: Boolean! = true)" if "$yes" in selection else "query"
        return f"{head} {{ {root} {{ {selection} }} }}{fragment}"

    def _selection(self, depth: int) -> str:
        return " ".join(self._item(depth) for _ in range(self._chance.randint(1, 5)))

    def _item(self, depth: int) -> str:
        dice = self._chance.random()
        if dice < 0.5:
            name = self._chance.choice(self.PLAIN if self._chance.random() < 0.95 else self.SLOW)
            return name + (self._chance.choice([" @include(if: $yes)", " @skip(if: $yes)"]) if self._chance.random() < 0.15 and "{" not in name else "")
        if dice < 0.85 or not depth:
            return f"{self._chance.choice(self.INNER)} {{ {' '.join(self._chance.sample(self.LEAF, self._chance.randint(1, 4)))} }}"
        return self._chance.choice(
            ["...F", f"... on Branch {{ {self._selection(depth - 1)} }}", "... on Named { id }", f"... {{ {self._selection(depth - 1)} }}"]
        )


def made_schema() -> GraphQLSchema:
    return strawberry.Schema(Query, types=[Branch], config=StrawberryConfig(scalar_map={Instant: date_time()}))._schema


def answer(schema: GraphQLSchema, document: DocumentNode, context: Any, by: type[Executor[Any]]) -> ExecutionResult:
    result = execute(schema, document, context_value=context, executor_class=by)
    assert isinstance(result, ExecutionResult)
    return result


def compare(seed: int, documents: int, projected: Callable[[], int]) -> None:
    chance = random.Random(seed)
    schema = made_schema()
    write = Documents(chance)
    errors = fast = 0
    for _ in range(documents):
        values = Values(chance, chance.choice([0.0, 0.0, 0.01, 0.1]))
        context = [values.branch(number) for number in range(chance.choice([3, 8, 8]))]
        text = next(each for each in iter(write.document, "") if not validate(schema, parse(each)))
        document = parse(text)
        before = projected()
        ours = answer(schema, document, context, ProjectingExecutor)
        fast += projected() > before
        theirs = answer(schema, document, context, StrawberryGraphQLCoreExecutionContext)
        assert told(ours) == told(theirs), text
        errors += bool(theirs.errors)
    assert fast > documents / 4, "too few documents were projected for this to prove anything"
    assert errors > documents / 20, "too few documents had errors"
    assert errors < documents * 3 / 4


def told(result: ExecutionResult) -> tuple[str, list[Any]]:
    return json.dumps(result.data), [
        (error.message, error.path, [(place.line, place.column) for place in error.locations or []]) for error in result.errors or []
    ]


@pytest.fixture
def projected(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts the lists that were projected to the end."""
    counted = [0]
    original = executor._Writer.projection

    def counting(self: Any, item: Any, details: Any) -> Any:
        project = original(self, item, details)

        def run(items: Any) -> Any:
            answer = project(items)
            counted[0] += 1
            return answer

        return run

    monkeypatch.setattr(executor._Writer, "projection", counting)
    return lambda: counted[0]


def test_random_documents_are_answered_as_graphql_core_answers_them(projected: Callable[[], int]) -> None:
    compare(1, FAST, projected)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_many_more_random_documents_are_answered_as_graphql_core_answers_them(seed: int, projected: Callable[[], int]) -> None:
    compare(seed, MORE, projected)


def test_a_long_list_of_stored_fields_is_projected(projected: Callable[[], int]) -> None:
    context = [Values(random.Random(1), 0.0).branch(number) for number in range(20)]
    query = parse("{ branches { id name tags leaf { count seen mood } leaves { ratio } } }")
    result = answer(made_schema(), query, context, ProjectingExecutor)
    assert result.errors is None
    assert projected() == 1


def test_a_resolver_takes_the_ordinary_way(projected: Callable[[], int]) -> None:
    context = [Values(random.Random(1), 0.0).branch(number) for number in range(20)]
    result = answer(made_schema(), parse("{ branches { computed(by: 2) } }"), context, ProjectingExecutor)
    assert result.data == {"branches": [{"computed": 2 + len(f"n{number}")} for number in range(20)]}
    assert projected() == 0
