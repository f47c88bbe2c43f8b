"""What a client is told when it can't be served: a code for programs, a sentence for people. Our own mistakes are logged and masked.

UserError            the request can't be answered as it stands; `code` is one of Code
└── everything else  is ours: logged with its trace, told as INTERNAL
"""

from __future__ import annotations

import logging
from enum import StrEnum

from graphql import GraphQLError, GraphQLSyntaxError

log = logging.getLogger("whence.graphql")


class Code(StrEnum):
    """`extensions.code` of an error."""

    BAD_USER_INPUT = "BAD_USER_INPUT"
    NOT_FOUND = "NOT_FOUND"
    REASONING_FAILED = "REASONING_FAILED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    QUERY_TOO_LARGE = "QUERY_TOO_LARGE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    TOO_MANY_SUBSCRIBERS = "TOO_MANY_SUBSCRIBERS"
    GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    INTERNAL = "INTERNAL"


class UserError(GraphQLError):
    """Something the client can put right; the message says how."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message, extensions={"code": code.value})


def settle_errors(errors: list[GraphQLError]) -> bool:
    """Gives every error its code, in place; logs and masks those that are ours. True if there was one of ours."""
    ours = False
    for place, error in enumerate(errors):
        code = _code_of(error)
        if code is Code.INTERNAL:
            ours = True
            log.error("A GraphQL request failed by our own fault, at %s.", error.path, exc_info=error.original_error or error)
            errors[place] = _masked(error)
        elif not error.extensions or "code" not in error.extensions:
            error.extensions = {**(error.extensions or {}), "code": code.value}
    return ours


def _code_of(error: GraphQLError) -> Code:
    known = (error.extensions or {}).get("code")
    if known in set(Code):
        return Code(f"{known}")
    if isinstance(error.original_error, RecursionError) and error.path is None:
        return Code.QUERY_TOO_LARGE
    if isinstance(error, GraphQLSyntaxError):
        return Code.GRAPHQL_PARSE_FAILED
    # Without a path the document or its variables are at fault, unless something other than graphql-core raised.
    if error.path is None and (error.original_error is None or isinstance(error.original_error, GraphQLError)):
        return Code.GRAPHQL_VALIDATION_FAILED
    return Code.INTERNAL


def _masked(error: GraphQLError) -> GraphQLError:
    message = "Whence failed to answer this; the reason is in its log. Please report it."
    return GraphQLError(message, nodes=error.nodes, path=error.path, extensions={"code": Code.INTERNAL.value})
