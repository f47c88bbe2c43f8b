"""What of a network follows from its links alone, kept while these stay: which lie on cycles, which are feedback, and the causal order."""

from __future__ import annotations

import numpy as np

from reasoning.cycles import feedback_among, links_on_cycles, tenths
from reasoning.network import Bool, CausalNetwork, FeedbackLinks, network_of, with_values
from schema.batches import Float64, Int32, Int64


class Wiring:
    """Remembers the last network made of links that stand by ascending effect and cause; arrays that are the same object have not changed."""

    def __init__(self) -> None:
        self._cause = self._effect = np.zeros(0, np.int32)
        self._inside: Int64 | None = None
        self._tenths = np.zeros(0)
        self._feedback = np.zeros(0, np.bool_)
        self._kept = np.zeros(0, np.bool_)
        self._network: CausalNetwork | None = None

    def feedback(self, variables: int, cause: Int32, effect: Int32, strength: Float64) -> Bool:
        """The links that would close cycles, bool[k] (reasoning.cycles)."""
        if self._inside is None or cause is not self._cause or effect is not self._effect:
            self._cause, self._effect, self._network = cause, effect, None
            self._inside, self._tenths = links_on_cycles(variables, cause, effect), np.zeros(0)
        coarse = tenths(strength[self._inside])
        if self._feedback.size != cause.size or not np.array_equal(coarse, self._tenths):
            self._tenths = coarse
            self._feedback = feedback_among(self._inside, variables, cause, effect, strength)
            self._feedback.setflags(write=False)
        return self._feedback

    def network(self, leak: Float64, cause: Int32, effect: Int32, strength: Float64, cluster: Int32, is_defect: Bool) -> CausalNetwork:
        """The network of the links, those that close cycles beside the others. Raises InvalidNetworkError."""
        feedback = self.feedback(leak.size, cause, effect, strength)
        back = FeedbackLinks(cause, effect, strength).only(feedback & (strength > 0.0))
        kept = ~feedback & ~(strength <= 0.0)
        last = self._network
        if last is not None and last.leak.size == leak.size and np.array_equal(kept, self._kept):
            self._network = with_values(last, leak, strength[kept], back)
        else:
            self._network = network_of(leak, cause[kept], effect[kept], strength[kept], cluster, is_defect, back)
        self._kept = kept
        return self._network
