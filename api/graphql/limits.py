"""What one request may ask for. The document's shape is judged when it is validated, its cost before anything is resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import (
    ASTValidationRule,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
)
from graphql.language import DocumentNode
from graphql.validation import ASTValidationContext
from strawberry.extensions import SchemaExtension

from api.graphql.errors import Code, UserError

PAGE = 100
MOST_EFFECTS = 500
MOST_INTERVENTIONS = 20
MOST_EXPLAINED = 10
MOST_SETS = 20
DEEPEST_TOPOLOGY = 5
TOPOLOGY_ENTITIES = 2_000
TOPOLOGY_RELATIONS = 10_000
LIST_SIZES: Mapping[tuple[str, str], int] = {
    ("topology", "entities"): TOPOLOGY_ENTITIES,
    ("topology", "relations"): TOPOLOGY_RELATIONS,
    ("rootCauses", "explains"): 10,
    ("rootCauses", "evidence"): 10,
    ("diagnosis", "symptoms"): 100,
    ("diagnoses", "symptoms"): 100,
    ("incidents", "symptoms"): 100,
    ("incidents", "evidence"): 10,
    ("incidents", "impacts"): 30,
    ("incidents", "changes"): 20,
    ("account", "steps"): 10,
    ("behind", "steps"): 10,
    ("causes", "paths"): 10,
    ("paths", "hops"): 10,
    ("explanation", "wouldTell"): 3,
    ("sets", "causes"): 10,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request. `nodes`: objects an answer may hold, by product of the sizes asked for; `body`: bytes; times in seconds.

    `stall`: how long a subscriber may leave an answer unread before it is dropped. `operations`: at once on one websocket.
    """

    depth: int = 12
    fields: int = 500
    aliases: int = 30
    tokens: int = 2_000
    nodes: int = 50_000
    body: int = 256 * 1024
    seconds: float = 10.0
    stall: float = 10.0
    operations: int = 20


class Shape(NamedTuple):
    """A selection once its fragments are put in place."""

    depth: int
    fields: int
    aliases: int


def shape_rule(limits: Limits) -> type[ASTValidationRule]:
    """The validation rule for depth, breadth and aliases. Make it once: a new class for each request would defeat the validation cache."""

    class ShapeRule(ASTValidationRule):
        def __init__(self, context: ASTValidationContext) -> None:
            super().__init__(context)
            for operation in context.document.definitions:
                if isinstance(operation, OperationDefinitionNode) and (excess := _excess(_Measure(context.document).shape(operation.selection_set), limits)):
                    context.report_error(GraphQLError(excess, operation, extensions={"code": Code.QUERY_TOO_LARGE.value}))

    return ShapeRule


def _excess(shape: Shape, limits: Limits) -> str:
    for found, limit, what in (
        (shape.depth, limits.depth, "levels deep"),
        (shape.fields, limits.fields, "fields wide"),
        (shape.aliases, limits.aliases, "aliases long"),
    ):
        if found > limit:
            return f"The query is {found} {what}; the limit is {limit}. Ask for less, or in several requests."
    return ""


class CostLimit(SchemaExtension):
    """Refuses an operation whose answer may hold too many objects, before any resolver runs."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def on_execute(self) -> Iterator[None]:
        """Raises UserError."""
        context = self.execution_context
        document = context.graphql_document
        if document is None:
            yield
            return
        named = context._provided_operation_name  # noqa: SLF001 - strawberry's own name falls back to the first operation
        operation = _operation(document, named)
        if operation is not None:
            nodes = _Cost(document, _sizes(operation, context.variables or {})).nodes(operation.selection_set, "")
            if nodes > self._limit:
                raise UserError(Code.QUERY_TOO_LARGE, f"The answer may hold {nodes} objects; the limit is {self._limit}. Ask for fewer with `first`.")
        yield


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode | None:
    operations = [definition for definition in document.definitions if isinstance(definition, OperationDefinitionNode)]
    if name is None and len(operations) > 1:
        raise UserError(Code.BAD_USER_INPUT, f"The document holds {len(operations)} operations: name the one you mean in `operationName`.")
    return next((each for each in operations if name is None or (each.name and each.name.value == name)), None)


def _sizes(operation: OperationDefinitionNode, given: Mapping[str, Any]) -> Mapping[str, object]:
    defaults = {
        each.variable.name.value: int(each.default_value.value) for each in operation.variable_definitions or () if isinstance(each.default_value, IntValueNode)
    }
    return {**defaults, **given}


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {definition.name.value: definition for definition in document.definitions if isinstance(definition, FragmentDefinitionNode)}


class _Measure:
    """Each fragment is measured once, so that fragments of fragments cost no more than their text."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = _fragments(document)
        self._known: dict[str, Shape] = {}

    def shape(self, selections: SelectionSetNode) -> Shape:
        depth = fields = aliases = 0
        for selection in selections.selections:
            if isinstance(selection, FragmentSpreadNode):
                inner, own = self._fragment(selection.name.value), 0
            elif isinstance(selection, FieldNode):
                # Introspection has a rule of its own; its standard query is deep.
                below = selection.selection_set if not selection.name.value.startswith("__") else None
                inner, own = self.shape(below) if below else Shape(0, 0, 0), 1
                aliases += selection.alias is not None
            else:
                assert isinstance(selection, InlineFragmentNode)
                inner, own = self.shape(selection.selection_set), 0
            depth = max(depth, own + inner.depth)
            fields += own + inner.fields
            aliases += inner.aliases
        return Shape(depth, fields, aliases)

    def _fragment(self, name: str) -> Shape:
        if name not in self._known:
            self._known[name] = Shape(0, 0, 0)  # stands while the fragment is measured: a cycle ends here and is reported elsewhere
            fragment = self._fragments.get(name)
            if fragment is not None:
                self._known[name] = self.shape(fragment.selection_set)
        return self._known[name]


class _Cost:
    """Objects an answer may hold: the sum over its fields of the product of the sizes on the way to them."""

    def __init__(self, document: DocumentNode, variables: Mapping[str, object]) -> None:
        self._fragments = _fragments(document)
        self._variables = variables
        self._known: dict[tuple[str, str], int] = {}

    def nodes(self, selections: SelectionSetNode, parent: str) -> int:
        total = 0
        for selection in selections.selections:
            if isinstance(selection, FragmentSpreadNode):
                total += self._fragment(selection.name.value, parent)
            elif isinstance(selection, InlineFragmentNode):
                total += self.nodes(selection.selection_set, parent)
            elif isinstance(selection, FieldNode) and selection.selection_set and not selection.name.value.startswith("__"):
                total += self._size(selection, parent) * (1 + self.nodes(selection.selection_set, selection.name.value))
        return total

    def _fragment(self, name: str, parent: str) -> int:
        if (name, parent) not in self._known:
            self._known[name, parent] = self.nodes(self._fragments[name].selection_set, parent)
        return self._known[name, parent]

    def _size(self, field: FieldNode, parent: str) -> int:
        asked = [size for argument in field.arguments or () if argument.name.value in {"first", "last"} and (size := self._number(argument.value)) is not None]
        return max(asked) if asked else LIST_SIZES.get((parent, field.name.value), 1)

    def _number(self, value: ValueNode) -> int | None:
        number = self._variables.get(value.name.value) if isinstance(value, VariableNode) else int(value.value) if isinstance(value, IntValueNode) else None
        return max(number, 1) if isinstance(number, int) else None
