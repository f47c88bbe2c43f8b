"""All that a Whence must not forget when it stops, beside the estate and the incidents its store keeps anyway: one value, one blob."""

from __future__ import annotations

from dataclasses import dataclass

from graph.saved_state import Arrays, SavedStateError, pack, unpack
from graph.sightings import Sightings, sightings_arrays, sightings_of
from ingest.memory import AssemblerMemory, memory_arrays, memory_of
from reasoning.belief_store import Belief, belief_arrays, belief_of


@dataclass(frozen=True, slots=True)
class Memory:
    """As of the end of one window. `names`: what the resolver knows."""

    belief: Belief
    sightings: Sightings
    assembler: AssemblerMemory
    names: Arrays

    def packed(self) -> bytes:
        """For `GraphStore.save_state`."""
        return pack(
            {
                "belief": belief_arrays(self.belief),
                "sightings": sightings_arrays(self.sightings),
                "assembler": memory_arrays(self.assembler),
                "names": self.names,
            }
        )


def memory_from(content: bytes) -> Memory:
    """The reverse of `packed`. Raises SavedStateError."""
    parts = unpack(content)
    try:
        return Memory(belief_of(parts["belief"]), sightings_of(parts["sightings"]), memory_of(parts["assembler"]), parts["names"])
    except KeyError as missing:
        raise SavedStateError(f"its {missing} is missing") from missing
