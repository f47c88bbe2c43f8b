"""An ordinary day: the visitors' hours, and deploys that break nothing."""

from __future__ import annotations

import pytest

from demo.calm import DAY, FIRST_DEPLOY, live_an_ordinary_day, share_of_rate
from demo.shop import SHOP
from demo.world import World
from tests.demo.living import START


def test_the_evening_is_busiest_the_morning_quietest_and_the_day_as_busy_as_declared() -> None:
    shares = {hour: share_of_rate(hour * 3600.0) for hour in range(24)}
    assert max(shares, key=lambda hour: shares[hour]) == 20
    assert min(shares, key=lambda hour: shares[hour]) == 8
    assert sum(shares.values()) / 24 == pytest.approx(1.0)
    assert share_of_rate(DAY) == pytest.approx(share_of_rate(0.0))


def test_visitors_follow_the_hour_at_which_the_estate_starts() -> None:
    world = World(SHOP, 1, START)
    live_an_ordinary_day(world)
    world.run_until(20.0)
    assert world.rate == pytest.approx(SHOP.rate * share_of_rate(8 * 3600.0 + 20.0))
    assert world.visits < 20.0 * SHOP.rate


def test_a_new_version_comes_and_behaves_as_the_old_one() -> None:
    world = World(SHOP, 1, START)
    live_an_ordinary_day(world)
    world.rate = 0.5
    before = {name: service.behaviour for name, service in world.services.items()}
    world.simulation.run_until(FIRST_DEPLOY + 60.0)
    changed = [name for name, service in world.services.items() if service.behaviour.version != before[name].version]
    assert len(changed) == 1
    now = world.services[changed[0]].behaviour
    assert (now.error_share, now.wait, now.cpu_factor, now.leak) == (before[changed[0]].error_share, 0.0, 1.0, 0.0)
    assert all(pod.behaviour == now for pod in world.services[changed[0]].pods)
