"""The executor: graphql-core's, but lists of plain objects are projected by one generated function for each selection.

graphql-core spends about 4 µs on each value of a list. Where a selection reads only stored fields, the same answer comes from a
function written for it. What such a function can't do (resolvers, arguments, abstract types, a value of the wrong type) takes
graphql-core's own way, which also finds the exact error. tests/api/test_graphql_executor.py compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from graphql import GraphQLLeafType, GraphQLList, GraphQLNonNull, GraphQLObjectType, GraphQLOutputType, GraphQLResolveInfo, is_leaf_type
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import AwaitableOrValue, Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from api.graphql.errors import Code, UserError

SHORTEST = 8  # below, writing the function costs more than it saves
OBJECTS_BETWEEN_LOOKS = 128
EXACT = {"String": "str", "ID": "str", "Int": "int", "Float": "float", "Boolean": "bool"}
Projection = Callable[[Iterable[Any]], list[Any]]


class _OrdinaryWayError(Exception):
    """A selection or value that is not for projection."""


class ProjectingExecutor(StrawberryGraphQLCoreExecutionContext):
    """Stops with DEADLINE_EXCEEDED when the context's time is spent. A context without `seconds` sets no deadline."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._clock = getattr(self.context_value, "clock", None)
        self._objects = 0
        self.start_clock()

    def build_per_event_executor(self, payload: Any) -> ProjectingExecutor:
        """Each event of a subscription has the whole time."""
        executor = super().build_per_event_executor(payload)
        assert isinstance(executor, ProjectingExecutor)
        executor.start_clock()
        return executor

    def complete_object_value(
        self,
        return_type: GraphQLObjectType,
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],
        path: Path,
        result: Any,
        position_context: Any,
    ) -> AwaitableOrValue[dict[str, Any]]:
        """graphql-core's, with a look at the clock now and then."""
        self._objects += 1
        if self._objects % OBJECTS_BETWEEN_LOOKS == 0:
            self._check_clock()
        return super().complete_object_value(return_type, field_details_list, info, path, result, position_context)

    def complete_iterable_value(
        self,
        item_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        info: GraphQLResolveInfo[Any],
        path: Path,
        items: Iterable[Any],
        position_context: Any,
    ) -> AwaitableOrValue[list[Any]]:
        """Projects if it can."""
        inner = item_type.of_type if isinstance(item_type, GraphQLNonNull) else None
        if isinstance(inner, GraphQLObjectType) and isinstance(items, list | tuple) and len(items) >= SHORTEST and self._projects(field_details_list, path):
            self._check_clock()
            try:
                return _Writer(self).projection(inner, field_details_list)(items)
            except Exception:  # noqa: BLE001, S110 - whatever it is, the ordinary way finds it again with its path
                pass
        return super().complete_iterable_value(item_type, field_details_list, info, path, items, position_context)

    def _projects(self, field_details_list: FieldDetailsList, path: Path) -> bool:
        middleware = self.middleware_manager is not None and self.middleware_manager.middlewares
        return not middleware and self.get_stream_usage(field_details_list, path) is None

    def start_clock(self) -> None:
        """From now on the context's seconds count."""
        self._until = self._clock() + self.context_value.seconds if self._clock is not None else 0.0

    def _check_clock(self) -> None:
        if self._clock is not None and self._clock() > self._until:
            raise UserError(Code.DEADLINE_EXCEEDED, "The answer took longer than one request may take. Ask for less, or in several requests.")


class _Writer:
    """Writes the source of a projection: a function for each object type of a selection, which call each other.

    Only names that came through GraphQL's grammar or from our own types reach the source; everything else is a constant `c[i]`.
    """

    def __init__(self, executor: ProjectingExecutor) -> None:
        self._executor = executor
        self._functions: list[str] = []
        self._constants: list[Any] = []

    def projection(self, item: GraphQLObjectType, details: FieldDetailsList) -> Projection:
        """Raises _OrdinaryWayError."""
        name = self._object(item, details)
        source = "def make(c):\n" + "".join(self._functions) + f" return lambda items: [{name}(o) for o in items]\n"
        projection: Projection = _compiled(source)(self._constants)
        return projection

    def _object(self, kind: GraphQLObjectType, details: FieldDetailsList) -> str:
        grouped, deferred, _ = self._executor.collect_subfields(kind, details)
        if deferred:
            raise _OrdinaryWayError
        name = f"f{len(self._functions)}"
        self._functions.append("")
        place = len(self._functions) - 1
        checks = ["if o is None: raise ValueError"]
        if kind.is_type_of is not None:
            checks.append(f"if type(o) is not {self._constant(kind.extensions['strawberry-definition'].origin)}: raise ValueError")
        entries = []
        for number, (key, nodes) in enumerate(grouped.items()):
            value = self._typename(kind, nodes) or self._field(kind, nodes, f"v{number}", checks)
            entries.append(f"{key!r}: {value}")
        lines = "".join(f"  {line}\n" for line in checks)
        self._functions[place] = f" def {name}(o):\n{lines}  return {{{', '.join(entries)}}}\n"
        return name

    def _typename(self, kind: GraphQLObjectType, nodes: FieldDetailsList) -> str:
        return repr(kind.name) if nodes[0].node.name.value == "__typename" else ""

    def _field(self, kind: GraphQLObjectType, nodes: FieldDetailsList, value: str, checks: list[str]) -> str:
        field = self._executor.schema.get_field(kind, nodes[0].node.name.value)
        if field is None or field.args or not getattr(field.resolve, "_is_default", False):
            raise _OrdinaryWayError
        checks.append(f"{value} = o.{field.extensions['strawberry-definition'].python_name}")
        required = isinstance(field.type, GraphQLNonNull)
        result = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
        if is_leaf_type(result):
            self._leaf(result, value, checks, required=required)
            return value
        if required:
            checks.append(f"if {value} is None: raise ValueError")
        whole = self._list(result, nodes, value, checks) if isinstance(result, GraphQLList) else f"{self._inner(result, nodes)}({value})"
        return whole if required else f"None if {value} is None else {whole}"

    def _list(self, result: GraphQLList[Any], nodes: FieldDetailsList, value: str, checks: list[str]) -> str:
        if not isinstance(result.of_type, GraphQLNonNull):
            raise _OrdinaryWayError
        checks.append(f"if {value} is not None and type({value}) is not list and type({value}) is not tuple: raise ValueError")
        item = result.of_type.of_type
        if not is_leaf_type(item):
            return f"[{self._inner(item, nodes)}(x) for x in {value}]"
        if EXACT.get(item.name) != "str":
            raise _OrdinaryWayError
        checks.append(f"for x in {value} or ():\n   if type(x) is not str: raise ValueError")
        return f"list({value})"

    def _inner(self, kind: Any, nodes: FieldDetailsList) -> str:
        if not isinstance(kind, GraphQLObjectType):
            raise _OrdinaryWayError
        return self._object(kind, nodes)

    def _leaf(self, kind: GraphQLLeafType, value: str, checks: list[str], *, required: bool) -> None:
        exact = EXACT.get(kind.name)
        if exact is None:
            coerce = self._constant(kind.coerce_output_value)
            checks.append(f"if {value} is not None: {value} = {coerce}({value})")
            if required:
                checks.append(f"if {value} is None: raise ValueError")
            return
        outside = {"int": f" or not -2147483648 <= {value} <= 2147483647", "float": f" or {value} - {value} != 0.0"}.get(exact, "")
        given = "" if required else f"{value} is not None and "
        checks.append(f"if {given}(type({value}) is not {exact}{outside}): raise ValueError")

    def _constant(self, value: Any) -> str:
        self._constants.append(value)
        return f"c[{len(self._constants) - 1}]"


@lru_cache(maxsize=512)
def _compiled(source: str) -> Callable[[list[Any]], Projection]:
    scope: dict[str, Any] = {}
    exec(source, scope)  # noqa: S102 - see _Writer: the text holds names only
    made: Callable[[list[Any]], Projection] = scope["make"]
    return made
