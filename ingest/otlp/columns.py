"""What the decoders share: interned text, resources, rejections, read-only columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage

from schema.batches import Resource
from schema.semantic_conventions import NAMES


@dataclass(frozen=True, slots=True)
class Rejections:
    """What a decoder refused, by reason; the rest of the request was kept."""

    reasons: Mapping[str, int]

    @property
    def count(self) -> int:
        """How many were refused."""
        return sum(self.reasons.values())

    @property
    def message(self) -> str:
        """A sentence for partial_success; empty when nothing was refused."""
        return "; ".join(f"{count} refused: {reason}" for reason, count in sorted(self.reasons.items()))


@dataclass(slots=True)
class Strings:
    """Each text once; `index` gives its place."""

    texts: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def index(self, text: str) -> int:
        """The place of a text."""
        place = self.places.get(text)
        if place is None:
            place = self.places[text] = len(self.texts)
            self.texts.append(text)
        return place


class SparseText:
    """Text attributes by canonical key: Int32[n] columns that are -1 where a row lacks the key."""

    def __init__(self, strings: Strings) -> None:
        self._strings = strings
        self._cells: dict[str, list[tuple[int, int]]] = {}

    def put(self, row: int, attributes: Iterable[KeyValue]) -> None:
        """Keeps the attributes that Whence reads. Rows come in ascending order."""
        old: list[tuple[int, str, KeyValue]] = []
        for pair in attributes:
            known = NAMES.get(pair.key)
            if known is None:
                continue
            if known.age:
                old.append((known.age, known.name, pair))
            else:
                self._cells.setdefault(known.name, []).append((row, self._strings.index(text_of(pair.value))))
        for _, name, pair in sorted(old, key=_age) if len(old) > 1 else old:
            cells = self._cells.setdefault(name, [])
            if not cells or cells[-1][0] != row:
                cells.append((row, self._strings.index(text_of(pair.value))))

    def columns(self, rows: int) -> dict[str, NDArray[np.int32]]:
        """The finished columns, read-only."""
        finished = {}
        for key in sorted(self._cells):
            column = np.full(rows, -1, np.int32)
            for row, place in self._cells[key]:
                column[row] = place
            column.setflags(write=False)
            finished[key] = column
        return finished


def resource_of(message: ResourceMessage) -> Resource:
    """The canonical attributes of a resource."""
    return Resource(attributes_of(message.attributes))


def attributes_of(pairs: Iterable[KeyValue], *, all_keys: bool = False) -> dict[str, str]:
    """Canonical name -> text, in ascending order; with `all_keys` those Whence has no name for as well."""
    found: dict[str, tuple[int, str]] = {}
    for pair in pairs:
        known = NAMES.get(pair.key)
        if known is not None and known.age <= found.get(known.name, (known.age, ""))[0]:
            found[known.name] = (known.age, text_of(pair.value))
        elif known is None and all_keys:
            found[pair.key] = (0, text_of(pair.value))
    return {name: found[name][1] for name in sorted(found)}


def text_of(value: AnyValue) -> str:
    """The text of an attribute value or log body; arrays and maps in protobuf's own text form."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "int_value":
        return str(value.int_value)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "double_value":
        return repr(value.double_value)
    if kind == "bytes_value":
        return value.bytes_value.hex()
    return "" if kind is None else str(value).replace("\n", " ").strip()


def _age(held: tuple[int, str, KeyValue]) -> int:
    return held[0]


def frozen(values: Any, kind: DTypeLike) -> NDArray[Any]:
    """A read-only array."""
    column = np.asarray(values, dtype=kind)
    column.setflags(write=False)
    return column


def rejections(counts: Counter[str]) -> Rejections:
    """The counts as a value."""
    return Rejections(dict(sorted(counts.items())))
