"""The detectors that can show a condition, and what each reads. reasoning/evidence implements them under these names."""

from __future__ import annotations

DETECTORS: dict[str, str] = {
    "slower": "requests take longer than the entity's own past",
    "slower_own": "time not spent waiting for callees is longer than the entity's own past",
    "failing": "a larger share of requests fails than in the past",
    "failing_own": "a larger share of requests fails without a failing callee",
    "unanswered": "calls to the entity fail without having reached it",
    "behaving_differently": "operations do other things than before: calls, log lines, exceptions new or missing",
    "near_limit": "a share of a limit is far above its usual level",
    "below_usual": "a ratio is far below its usual level",
    "above_usual": "an amount is far above its usual level",
    "increased": "events were counted that are rare",
    "not_ready": "a state is not good",
    "busier": "more requests than usual",
    "quieter": "fewer requests than usual",
    "gap_wider": "calls across a network path take longer outside the callee than before",
}
"""Name -> what it looks for."""

READS: dict[str, tuple[str, str]] = {
    "slower": ("latency", "s"),
    "slower_own": ("own_time", "s"),
    "failing": ("error_ratio", "1"),
    "failing_own": ("own_error_ratio", "1"),
    "unanswered": ("unanswered_ratio", "1"),
    "behaving_differently": ("behaviour", ""),
    "busier": ("request_rate", "{request}/s"),
    "quieter": ("request_rate", "{request}/s"),
    "gap_wider": ("network_delay", "s"),
}
"""Name -> the attribute it reads from requests, and its unit; the others read the attribute that their condition names."""
