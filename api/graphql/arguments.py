"""Reading arguments: identities, sizes, cursors. What can't be read is the client's to put right."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from api.graphql.errors import Code, UserError
from api.graphql.limits import PAGE
from schema.identity import EntityRef, IdentityError


def entity_ref(text: str) -> EntityRef:
    """Raises UserError."""
    try:
        return EntityRef.parse(text)
    except IdentityError as trouble:
        raise UserError(Code.BAD_USER_INPUT, f"{trouble}") from None


def bounded(value: int, most: int, name: str = "first", least: int = 1) -> int:
    """The value if it lies in least..most. Raises UserError."""
    if not least <= value <= most:
        raise UserError(Code.BAD_USER_INPUT, f"`{name}` is {value}; give a number from {least} to {most}.")
    return value


@dataclass(frozen=True, slots=True)
class Page:
    """`size` items after `cursor`, or before it if `backward`."""

    size: int
    cursor: str | None
    backward: bool


def page(first: int | None, after: str | None, last: int | None, before: str | None) -> Page:
    """Relay's four arguments. Raises UserError when they contradict each other."""
    if first is not None and last is not None:
        raise UserError(Code.BAD_USER_INPUT, "Give either `first` or `last`, not both.")
    if after is not None and before is not None:
        raise UserError(Code.BAD_USER_INPUT, "Give either `after` or `before`, not both.")
    if last is not None and after is not None:
        raise UserError(Code.BAD_USER_INPUT, "`last` goes with `before`; give `first` with `after`.")
    if before is not None and last is None:
        raise UserError(Code.BAD_USER_INPUT, "`before` goes with `last`; give `after` with `first`.")
    if last is not None:
        return Page(bounded(last, PAGE, "last"), _opened(before, "before"), backward=True)
    return Page(bounded(PAGE if first is None else first, PAGE), _opened(after, "after"), backward=False)


def cursor(text: str) -> str:
    """An opaque cursor at the item of this identity."""
    return base64.urlsafe_b64encode(text.encode()).decode()


def _opened(text: str | None, name: str) -> str | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise UserError(Code.BAD_USER_INPUT, f"`{name}` is not a cursor: use `endCursor` or `startCursor` of a page, or leave it out.") from None
