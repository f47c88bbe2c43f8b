"""What stays of a log line or operation name when its variable parts are masked."""

from __future__ import annotations

import re

WORDS = 12
_SPLIT = re.compile(r"[\[\](){}<>,;=\"']+")
_DIGIT = re.compile(r"\d")
_LOCATION = re.compile(r"^[A-Za-z_][\w.$\[/-]*(#|\.[A-Za-z]{1,5}:)\d{1,5}$")


def log_template(text: str) -> str:
    """The leading words without digits of a log line; source locations such as `Class#12` and `main.go:12` stay whole."""
    kept: list[str] = []
    for token in text[:400].split():
        if _LOCATION.match(token):
            kept.append(token)
        else:
            kept += [word for word in _SPLIT.split(token) if word and not _DIGIT.search(word)]
        if len(kept) >= WORDS:
            break
    return " ".join(kept[:WORDS])


def operation_name(name: str) -> str:
    """A span name with path parts and words that hold digits masked, so that identifiers make no new operations."""
    if not _DIGIT.search(name):
        return name[:120]
    return re.sub(r"[^\s/.:]*\d[^\s/.:]*", lambda part: part.group() if re.fullmatch(r"v\d{1,2}", part.group()) else "*", name)[:120]
