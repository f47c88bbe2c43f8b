"""What can go wrong while reasoning.

ReasoningError
├── InvalidNetworkError       a probability is not one, or links form a cycle
└── InconsistentEvidenceError no world agrees with the findings
"""

from __future__ import annotations


class ReasoningError(Exception):
    """The diagnosis can't be renewed; the message names the entities involved."""


class InvalidNetworkError(ReasoningError):
    """A probability is outside [0, 1] or not a number, or the links form a cycle."""


class InconsistentEvidenceError(ReasoningError):
    """No world agrees with the findings. `variables`: those whose findings take part."""

    def __init__(self, variables: list[int]) -> None:
        super().__init__(f"No state of the estate agrees with the findings on {len(variables)} conditions.")
        self.variables = variables
