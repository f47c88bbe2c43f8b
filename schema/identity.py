"""How an entity is named: `kind:cluster/namespace/name`, stable across restarts and sources."""

from __future__ import annotations

from dataclasses import dataclass


class IdentityError(ValueError):
    """A text that does not name an entity; the message says what is missing."""


@dataclass(frozen=True, slots=True, order=True)
class EntityRef:
    """The identity of an entity. `cluster` and `namespace` may be empty; `name` may hold slashes and spaces."""

    kind: str
    cluster: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.cluster}/{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> EntityRef:
        """Reads `kind:cluster/namespace/name`. Raises IdentityError."""
        kind, colon, rest = text.partition(":")
        parts = rest.split("/", 2)
        if not kind or not colon or len(parts) != 3 or not parts[2]:
            raise IdentityError(
                f"{text!r} does not name an entity: write kind:cluster/namespace/name, e.g. service:prod-eu/shop/checkout; cluster and namespace may be empty."
            )
        return cls(kind, *parts)
