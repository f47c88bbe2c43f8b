"""What can go wrong at the doors of telemetry.

IngestError
├── OverloadedError    more arrives than can be worked on; senders are told to retry
├── ListenError        an address can't be listened on
│   └── PortInUseError
└── RecordingError     a recording can't be read further; what came before was yielded
"""

from __future__ import annotations


class IngestError(Exception):
    """The root of the tree; every message is a sentence that says what to do."""


class OverloadedError(IngestError):
    """Raised by a sink that can't take the batch now. `retry_after`: seconds after which the sender should try again."""

    def __init__(self, message: str = "Too much telemetry is waiting to be worked on: send it again later.", *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ListenError(IngestError):
    """An address can't be listened on."""


class PortInUseError(ListenError):
    """Another process listens on the address."""


class RecordingError(IngestError):
    """A recording that can't be read further; what came before was yielded."""
