"""Who held which address when: a pod that takes over an IP gets none of the calls of the pod before it."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schema.identity import EntityRef

SECOND = 1_000_000_000
TENURES_PER_ADDRESS = 8
STRANGERS = 256
STRANGER_TIME_TO_LIVE = 24 * 3600 * SECOND


@dataclass(slots=True)
class _Tenure:
    """`holder` had the address from `since` to `last`; `services` spoke from it (two are kept: the second only makes it ambiguous)."""

    holder: EntityRef
    since: int
    last: int
    services: set[EntityRef] = field(default_factory=set)

    def owner(self) -> EntityRef | None:
        """The one service behind the address, or the pod itself; a machine that runs several is no answer."""
        if len(self.services) == 1:
            return next(iter(self.services))
        return self.holder if self.holder.kind == "pod" else None


class AddressBook:
    """Bounded: the address that was least recently bound goes first, counted.

    `time_to_live`: how long after it was last seen a holder may still be dialled. `lead`: how long before it was first seen;
    resources are dated by the window they came in, so a new pod is called up to a window before it is known.
    """

    def __init__(self, *, limit: int, time_to_live: int = 900 * SECOND, lead: int = 10 * SECOND) -> None:
        self._limit = limit
        self._time_to_live = time_to_live
        self._lead = lead
        self._tenures: OrderedDict[str, list[_Tenure]] = OrderedDict()
        self._strangers: OrderedDict[str, int] = OrderedDict()
        self._dropped: Counter[str] = Counter()

    @property
    def dropped(self) -> Mapping[str, int]:
        """Bindings forgotten for want of room, addresses that two holders claim, and strangers beyond the bound, by reason."""
        return dict(self._dropped)

    def memory(self) -> dict[str, object]:
        """What is known, as JSON: the address bound longest ago first."""
        tenures = [
            [address, [[str(each.holder), each.since, each.last, sorted(map(str, each.services))] for each in known]]
            for address, known in self._tenures.items()
        ]
        return {"tenures": tenures, "strangers": list(self._strangers.items())}

    def restore(self, memory: Any) -> None:
        """Takes over what `memory` told. Raises KeyError, TypeError or ValueError where it is malformed."""
        parse = EntityRef.parse
        self._tenures = OrderedDict(
            (address, [_Tenure(parse(holder), since, last, set(map(parse, services))) for holder, since, last, services in known])
            for address, known in memory["tenures"]
        )
        self._strangers = OrderedDict((address, time) for address, time in memory["strangers"])

    def bind(self, address: str, holder: EntityRef, service: EntityRef | None, time: int) -> None:
        """`holder` (a pod or node) was seen with the address at `time`, and `service` spoke from there."""
        tenures = self._tenures.setdefault(address, [])
        self._tenures.move_to_end(address)
        tenure = self._tenure(tenures, holder, time)
        if tenure is None:
            tenure = _Tenure(holder, time, time)
            tenures.append(tenure)
            tenures.sort(key=lambda each: (each.since, each.holder))
            del tenures[:-TENURES_PER_ADDRESS]
        tenure.since, tenure.last = min(tenure.since, time), max(tenure.last, time)
        if service is not None and len(tenure.services) < 2:
            tenure.services.add(service)
        if len(self._tenures) > self._limit:
            self._tenures.popitem(last=False)
            self._dropped["address_table_full"] += 1

    def owner(self, address: str, time: int) -> EntityRef | None:
        """The service or pod behind the address at `time`, if it is known and there is just one."""
        tenures = self._tenures.get(address, [])
        holding = [each for each in tenures if each.since <= time <= each.last]
        if holding:
            latest = holding[-1]
            if any(min(each.last, latest.last) > latest.since for each in holding[:-1]):
                self._dropped["address_contested"] += 1
                return None
            return latest.owner()
        coming = [each for each in tenures if time < each.since <= time + self._lead]
        if coming:
            return coming[0].owner()
        gone = [each for each in tenures if time - self._time_to_live <= each.last < time]
        return max(gone, key=lambda each: (each.last, each.holder)).owner() if gone else None

    def admits(self, address: str, time: int) -> bool:
        """Whether an address that nobody is known to hold may stand for itself: the first few may, until they fall silent for a day.

        A machine outside the estate keeps its address; pods that send nothing would make thousands.
        """
        known = self._strangers.pop(address, None)
        if known is None and len(self._strangers) >= STRANGERS:
            oldest, last = next(iter(self._strangers.items()))
            if time - last <= STRANGER_TIME_TO_LIVE:
                self._dropped["unknown_address"] += 1
                return False
            del self._strangers[oldest]
        self._strangers[address] = max(time, known or 0)
        return True

    def _tenure(self, tenures: list[_Tenure], holder: EntityRef, time: int) -> _Tenure | None:
        """The holder's own stay that covers `time` or is so near that nobody else moved in between."""
        for each in reversed(tenures):
            if each.holder != holder:
                continue
            low, high = min(each.last, time), max(each.since, time)
            if high - low <= self._time_to_live and not any(other.holder != holder and low < other.since <= high for other in tenures):
                return each
        return None
