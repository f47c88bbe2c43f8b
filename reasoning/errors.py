"""What can go wrong while reasoning.

ReasoningError
├── InvalidNetworkError        a probability is not one, arrays do not fit, or links form a cycle
├── InvalidEvidenceError       evidence that is not a number, or as many values as there are no variables
├── InconsistentEvidenceError  no world agrees with the findings
└── UnknownVariableError       a defect or condition that the compiled network does not hold

NativeCodeError, an ImportError, is of the installation: without it nothing can be reasoned at all.

A network too wide to solve exactly is no error: inference then approximates and says so (`Posteriors.exact`).
"""

from __future__ import annotations

from collections.abc import Sequence


class ReasoningError(Exception):
    """The diagnosis can't be renewed; the message names the entities involved."""


class InvalidNetworkError(ReasoningError):
    """A probability is outside [0, 1] or not a number, arrays do not fit, or the links form a cycle. `variables`: those involved."""

    def __init__(self, message: str, variables: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.variables = variables


class InvalidEvidenceError(ReasoningError):
    """Evidence that is not a number, or as many values as there are no variables. `variables`: those involved."""

    def __init__(self, message: str, variables: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.variables = variables


class InconsistentEvidenceError(ReasoningError):
    """No world agrees with the findings. `variables`: those whose findings take part."""

    def __init__(self, variables: list[int], names: str = "") -> None:
        which = f": {names}" if names else ""
        super().__init__(f"No state of the estate agrees with the findings on {len(variables)} conditions{which}.")
        self.variables = variables


class UnknownVariableError(ReasoningError, KeyError):
    """No such defect or condition in the compiled network."""

    def __str__(self) -> str:
        return str(self.args[0])


class NativeCodeError(ImportError):
    """The compiler of the inference is missing or broken; the message says what to install."""

    def __init__(self, trouble: BaseException) -> None:
        super().__init__(
            f"The inference can't be compiled, for numba is missing or does not work here ({type(trouble).__name__}: {trouble}). "
            "Install it anew: pip install --force-reinstall numba llvmlite"
        )
