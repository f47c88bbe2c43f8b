"""What resolvers may use. One for each request or websocket; it holds no snapshot, so that nothing it shows grows old."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import strawberry

from api.graphql.diagnosis_pages import DiagnosisPages
from api.graphql.entity_index import EntityIndex
from api.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Context:
    """`seconds`: how long one execution may take, by `clock`."""

    runtime: Runtime
    index: EntityIndex
    pages: DiagnosisPages
    version: str
    seconds: float
    clock: Callable[[], float]


Info = strawberry.Info[Context, None]
