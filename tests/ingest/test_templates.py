"""What stays of a text when its variable parts are masked."""

from __future__ import annotations

import pytest

from ingest.templates import log_template, operation_name


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("order 17 refused by bank 3", "order refused by bank"),
        ("user=ada id=8f3c took 12ms", "user ada id took"),
        ("OrderService.java:42 lost", "OrderService.java:42 lost"),
        ("user:42 lost", "lost"),
        ("OrderService#42 lost", "OrderService#42 lost"),
        ("", ""),
        (" ".join(f"w{chr(97 + at)}" for at in range(20)), "wa wb wc wd we wf wg wh wi wj wk wl"),
    ],
)
def test_a_log_line_keeps_its_leading_words_without_digits(text: str, template: str) -> None:
    assert log_template(text) == template


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("GET /cart", "GET /cart"),
        ("GET /cart/17", "GET /cart/*"),
        ("GET /api/v1/cart/8f3c-11", "GET /api/v1/cart/*"),
        ("GET /api/v12/user-4711/5d7", "GET /api/v12/*/*"),
        ("put s3.object", "put s3.object"),
        ("SELECT ts.trip2", "SELECT ts.trip2"),
        ("Travel2Controller.queryInfo", "Travel2Controller.queryInfo"),
        ("x" * 200, "x" * 120),
    ],
)
def test_an_operations_name_holds_no_identifiers(name: str, operation: str) -> None:
    assert operation_name(name) == operation
