"""An ordinary day of the estate, in which nothing breaks: visitors come and go with the hour, and new versions that do no harm are rolled out."""

from __future__ import annotations

import math
from dataclasses import replace

from demo.faults import next_version
from demo.simulation import Steps
from demo.world import World

HOUR = 3600.0
DAY = 24 * HOUR
BUSIEST = 20 * HOUR  # after midnight, UTC
SWING = 0.4  # of the estate's declared rate, either way
RATE_EVERY = 10.0
BETWEEN_DEPLOYS = 1200.0  # seconds, on average
FIRST_DEPLOY = 600.0


def live_an_ordinary_day(world: World) -> None:
    """Lets the day begin at the world's clock."""
    world.simulation.spawn(_visitors(world))
    world.simulation.spawn(_deploys(world))


def share_of_rate(second: float) -> float:
    """How many visitors come at a second after midnight, as a share of the declared rate."""
    return 1.0 + SWING * math.cos(2.0 * math.pi * (second - BUSIEST) / DAY)


def _visitors(world: World) -> Steps:
    midnight = world.clock.start / 1e9 % DAY
    while True:
        world.rate = world.spec.rate * share_of_rate(midnight + world.simulation.now)
        yield RATE_EVERY


def _deploys(world: World) -> Steps:
    random = world.random("deploys")
    services = sorted(world.services)
    yield FIRST_DEPLOY
    while True:
        service = world.services[random.choice(services)]
        yield from world.clusters[service.spec.cluster].roll_out(service, replace(service.behaviour, version=next_version(service)))
        yield random.expovariate(1.0 / BETWEEN_DEPLOYS)
