"""Coarse metrics of two callees of one caller: what moved together, and less, may be the other's shadow and no fault of its own.

A peer in front of a service, or a second layer of it, sees part of what that service does to their callers. Metrics do not say so;
amounts do (docs/reasoning/evidence.md): a shadow has a part of the excess it is cast by, whatever its relative shift.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log

import numpy as np

from reasoning.evidence.streams import normal_weight
from schema.batches import Float64, Int64

SHADOWS = 0.3  # of abnormal callees beside another one
DECADES = log(1000.0)  # an excess of its own has any of three decades
TINY = 1e-300  # keeps the logarithm finite
COMPANY = 2.3  # ln of how much likelier a stream misbehaves beside one that does


def less_shadows(entity: Int64, ratio: Float64, excess: Float64, calls: Iterable[tuple[int, int]]) -> Float64:
    """The ratios of one coarse detector's streams, Float64[r], where what is no worse than normal includes being another callee's shadow.

    excess: Float64[r], seconds or failed requests beyond the usual. calls: pairs of caller and callee.
    Only a callee with more of it casts a shadow, as surely as it is itself abnormal.
    """
    places = {each: place for place, each in enumerate(entity.tolist())}
    beside: dict[int, set[int]] = {}
    for source, target in calls:
        if target in places:
            beside.setdefault(source, set()).add(places[target])
    cast = np.zeros(ratio.size)
    for siblings in beside.values():
        casting = [place for place in siblings if ratio[place] > 0.0 and excess[place] > 0.0]
        for place in casting:
            for other in casting:
                if excess[place] < excess[other]:
                    real = 1.0 - normal_weight(ratio[other] + COMPANY)
                    cast[place] = max(cast[place], real * DECADES * excess[place] / excess[other])
    return np.where(cast > 0.0, -np.log((1.0 - SHADOWS) * np.exp(-ratio) + SHADOWS * cast + TINY), ratio)
