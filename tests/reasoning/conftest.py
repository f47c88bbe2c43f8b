"""Machine code is compiled before the first test, so that no example pays for it."""

from __future__ import annotations

import pytest
from hypothesis import settings

from reasoning.prepare import prepare

settings.register_profile("untimed", deadline=None)  # how long a case takes says more of the machine than of the code
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _prepared() -> None:
    prepare(lambda _: None)
