"""What stays of a log line or operation name when its variable parts are masked."""

from __future__ import annotations

import re

WORDS = 12
_SPLIT = re.compile(r"[\[\](){}<>,;=\"']+")
_WORD_WITH_DIGIT = re.compile(r"[^\s/.:]*\d[^\s/.:]*")
_VERSION = re.compile(r"v\d{1,2}")
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
    """A span name with what looks like an identifier masked, so that identifiers make no new operations: `GET /cart/17` is `GET /cart/*`."""
    return (_WORD_WITH_DIGIT.sub(_masked, name) if _DIGIT.search(name) else name)[:120]


def _masked(word: re.Match[str]) -> str:
    """A number, a hash or a serial has three digits or hardly anything else; `v1`, `trip2` and `Travel2Controller` are names."""
    text = word.group()
    digits = len(_DIGIT.findall(text))
    return "*" if digits >= 3 or (2 * digits > len(text) and not _VERSION.fullmatch(text)) else text
