"""do() on networks too wide for exact elimination: worlds sampled 64 to a machine word, with and without the cause, under the same luck.

What the cause can reach is sampled, and what else causes that. The two worlds of a pair differ in nothing but what is forced,
so their difference is far surer than either. A share of N worlds has the standard error sqrt(p (1 - p) / N).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reasoning.native import compiled, inlined
from reasoning.network import Bool, CausalNetwork, FeedbackLinks
from reasoning.solution import fill_forward
from schema.batches import Float64, Int32, Int64

UInt64 = NDArray[np.uint64]

WORD = 64
WORLDS = 1_024
MOST_SAMPLED = 20_000  # variables beside those below the cause; the rest is taken as independent, at its usual probability
MOST_WORDS = 1 << 23  # sampled at once, 64 MB for each world of the pair
STEP, STRIDE = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)  # from one random word to the next, of a digit and of 64 worlds
BLOCK = 16  # words whose luck is drawn together, by vector instructions
NO_WORLD, EVERY_WORLD = np.uint64(0), ~np.uint64(0)
RARE = 0.06  # below, to draw the next world in which luck strikes costs less than to draw a bit for every world


class Sample(NamedTuple):
    """What is sampled of a network: k variables, causes before effects, and the m links among them.

    variable: Int64[k], in the network; own: Float64[k], the chance to hold without a cause that is sampled. first: Int64[k + 1] into the links that
    lead into each: cause: Int32[m], its place among the k; strength: Float64[m]; number: Int64[m], in the network.
    """

    variable: Int64
    own: Float64
    first: Int64
    cause: Int32
    strength: Float64
    number: Int64


class Worlds(NamedTuple):
    """Pairs of worlds, 64 to a word. without: UInt64[k, w], those in which a variable holds in either of the pair; more: UInt64[k, w], only
    where the cause is forced to hold. apart: bool[k], whether there are any of the latter; ever: bool[k], of either.
    """

    without: UInt64
    more: UInt64
    apart: Bool
    ever: Bool


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """P(holds) of k variables with the cause forced to hold and forced not to, Float64[k] each; variables: Int64[k], causes before effects.

    `worlds`: how many pairs of worlds were sampled. `complete`: all other causes of the variables were sampled too.
    """

    variables: Int64
    with_it: Float64
    without: Float64
    worlds: int
    complete: bool

    def standard_error(self) -> Float64:
        """Of `with_it`, Float64[k]; never 0, as no number of worlds makes sure."""
        smoothed = (self.with_it * self.worlds + 1.0) / (self.worlds + 2.0)
        return np.sqrt(smoothed * (1.0 - smoothed) / self.worlds)


def blast_radius(
    network: CausalNetwork, cause: int, random: np.random.Generator, *, worlds: int = WORLDS, most: int = MOST_SAMPLED, usual: Float64 | None = None
) -> BlastRadius:
    """What forcing a variable to hold does to all below it, whatever is observed; `worlds` is rounded up to whole words.

    most: how many variables may be sampled beside those below the cause; the causes nearest to these are. usual: `usually(network)`,
    where it is at hand; else it is made when needed. The answer follows from the state of `random` alone.
    """
    back = network.feedback.only(network.feedback.effect != cause)
    below = np.zeros(len(network), np.bool_)
    cone = _below(network, back, cause, below)
    sampled = below.copy()
    complete = _above(network, back, cone, sampled, cone.size + most)
    outside = np.zeros(0)
    if not complete:
        outside = usually(network) if usual is None else usual
    variables = in_order(network.order, sampled, int(np.count_nonzero(sampled)))
    place, sample = lay_out(variables, network.parent_ptr, network.parent, network.strength, network.leak, outside)
    inner = back.only(sampled[back.cause] & sampled[back.effect])
    feedback = place[inner.cause], place[inner.effect], inner.strength, network.parent.size
    left, counts = -(-worlds // WORD), np.zeros((2, variables.size), np.int64)
    while left:
        words = min(left, max(WORLDS // WORD, MOST_WORDS // variables.size))
        counts += sample_pairs(sample, place[cause], *feedback, words, random.integers(1 << 63, dtype=np.uint64))
        left -= words
    worlds = -(-worlds // WORD) * WORD
    chosen = below[variables]
    with_it, without = counts[:, chosen] / worlds
    return BlastRadius(variables[chosen], with_it, without, worlds, complete)


def _below(network: CausalNetwork, back: FeedbackLinks, cause: int, below: Bool) -> Int64:
    """Marks a variable and all it reaches, along feedback links too, in place: bool[n]; returns them."""
    found = [mark_below(cause, network.child_ptr, network.child_link, network.effect, below)]
    while (more := back.effect[below[back.cause] & ~below[back.effect]]).size:
        found.append(mark_below(int(more[0]), network.child_ptr, network.child_link, network.effect, below))
    return np.concatenate(found)


def _above(network: CausalNetwork, back: FeedbackLinks, members: Int64, marked: Bool, most: int) -> bool:
    """Marks the causes of the members, along feedback links too, the nearest first, in place: bool[n]; False where more than `most` would be marked."""
    while members.size:
        if not mark_above(members, network.parent_ptr, network.parent, marked, most - int(np.count_nonzero(marked))):
            return False
        members = np.unique(back.cause[marked[back.effect] & ~marked[back.cause]]).astype(np.int64)
        marked[members] = True
    return True


def usually(network: CausalNetwork) -> Float64:
    """P(holds) of every variable when nothing is observed, as if its causes were independent: Float64[n]."""
    outside = np.full(len(network), np.nan)
    fill_forward(network.order, network.parent_ptr, network.parent, network.strength, network.leak, outside)
    return outside


@compiled
def mark_below(cause: int, child_ptr: Int64, child_link: Int64, effect: Int32, below: Bool) -> Int64:
    """Marks a variable and all it reaches, in place: bool[n]; returns them."""
    found = np.empty(1024, np.int64)
    found[0], count, at = cause, 1, 0
    below[cause] = True
    while at < count:
        for position in range(child_ptr[found[at]], child_ptr[found[at] + 1]):
            child = effect[child_link[position]]
            if not below[child]:
                below[child] = True
                if count == found.size:
                    found = np.concatenate((found, np.empty_like(found)))
                found[count] = child
                count += 1
        at += 1
    return found[:count].copy()


@compiled
def mark_above(members: Int64, parent_ptr: Int64, parent: Int32, marked: Bool, room: int) -> bool:
    """Marks all causes of what is marked already, the nearest first, in place: bool[n]; False where there is no room for so many."""
    found = np.empty(members.size + max(room, 0), np.int64)
    found[: members.size] = members
    count, at = members.size, 0
    while at < count:
        for link in range(parent_ptr[found[at]], parent_ptr[found[at] + 1]):
            if not marked[parent[link]]:
                if count == found.size:
                    return False
                marked[parent[link]] = True
                found[count] = parent[link]
                count += 1
        at += 1
    return True


@compiled
def in_order(order: Int64, marked: Bool, count: int) -> Int64:
    """What is marked, causes before effects: Int64[count]."""
    found = np.empty(count, np.int64)
    at = 0
    for variable in order:
        if marked[variable]:
            found[at] = variable
            at += 1
    return found


@compiled
def lay_out(variables: Int64, parent_ptr: Int64, parent: Int32, strength: Float64, leak: Float64, outside: Float64) -> tuple[Int32, Sample]:
    """Gathers k variables, causes before effects, and the links among them, so that no round of sampling looks for them in the network.

    Causes that are not sampled count as independent and go into the leaks. outside: Float64[n], their P(holds).
    Returns the place of each variable, Int32[n], -1 where there is none; and the sample.
    """
    place, links = np.full(leak.size, -1, np.int32), 0
    for k in range(variables.size):
        place[variables[k]] = k
        links += parent_ptr[variables[k] + 1] - parent_ptr[variables[k]]
    own, first, at = np.empty(variables.size), np.zeros(variables.size + 1, np.int64), 0
    causes, strengths, numbers = np.empty(links, np.int32), np.empty(links), np.empty(links, np.int64)
    for k in range(variables.size):
        silence = 1.0 - leak[variables[k]]
        for link in range(parent_ptr[variables[k]], parent_ptr[variables[k] + 1]):
            if place[parent[link]] < 0:
                silence *= 1.0 - strength[link] * outside[parent[link]]
            else:
                causes[at], strengths[at], numbers[at] = place[parent[link]], strength[link], link
                at += 1
        own[k], first[k + 1] = 1.0 - silence, at
    return place, Sample(variables, own, first, causes[:at], strengths[:at], numbers[:at])


@compiled
def sample_pairs(
    sample: Sample, cause: int, back_cause: Int32, back_effect: Int32, back_strength: Float64, links: int, words: int, seed: np.uint64
) -> tuple[Int64, Int64]:
    """How many worlds each of k variables holds in with the cause and without it, Int64[k] each. cause, back_cause, back_effect: places.

    What feedback links add is carried down again until they add nothing: the least fixpoint, as luck does not change. links: how many
    the network has without them; they are numbered from there on.
    """
    count = sample.variable.size
    worlds = Worlds(np.zeros((count, words), np.uint64), np.zeros((count, words), np.uint64), np.zeros(count, np.bool_), np.zeros(count, np.bool_))
    worlds.more[cause], worlds.apart[cause], worlds.ever[cause] = EVERY_WORLD, True, True
    undecided, fired = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.uint64)
    for k in range(count):
        if k != cause:
            worlds.ever[k] = _strike(sample.own[k], k, worlds, luck(seed, -1 - sample.variable[k]), undecided, fired)
    moved = True
    while moved:
        _carry_down(sample, cause, worlds, seed, undecided, fired)
        moved = False
        for at in range(back_cause.size):
            moved |= _carry(back_strength[at], back_cause[at], back_effect[at], worlds, luck(seed, links + at), undecided, fired)
    without = _counted(worlds.without)
    return without + _counted(worlds.more), without


@inlined
def _carry_down(sample: Sample, cause: int, worlds: Worlds, seed: np.uint64, undecided: UInt64, fired: UInt64) -> None:
    """Lets all links fire once, those into causes before those into effects; none leads into what is forced."""
    for k in range(sample.variable.size):
        if k != cause:
            for at in range(sample.first[k], sample.first[k + 1]):
                if worlds.ever[sample.cause[at]]:
                    _carry(sample.strength[at], sample.cause[at], k, worlds, luck(seed, sample.number[at]), undecided, fired)


@inlined
def _carry(strength: float, above: int, below: int, worlds: Worlds, luck_of_it: np.uint64, undecided: UInt64, fired: UInt64) -> bool:
    """Lets a link fire in the worlds where its cause holds, the same ones of each pair and each time; whether that moved anything.

    Worlds in which the effect holds already need no luck. undecided, fired: UInt64[BLOCK], room to work.
    """
    without, more, words, moved = worlds.without, worlds.more, worlds.without.shape[1], False
    apart = worlds.apart[above] or worlds.apart[below]
    for first in range(0, words, BLOCK):
        size, some = min(BLOCK, words - first), NO_WORLD
        for word in range(size):
            undecided[word] = without[above, first + word] & ~without[below, first + word]
        if apart:
            for word in range(size):
                undecided[word] |= more[above, first + word] & ~without[below, first + word] & ~more[below, first + word]
        for word in range(size):
            some |= undecided[word]
        if some == NO_WORLD:
            continue
        _strikes(strength, size, luck_of_it + np.uint64(first) * STRIDE, undecided, fired)
        some = NO_WORLD
        for word in range(size):
            without[below, first + word] |= without[above, first + word] & fired[word]
            some |= fired[word]
        moved |= some != NO_WORLD
        if apart:
            some = NO_WORLD
            for word in range(size):
                more[below, first + word] = (more[below, first + word] | more[above, first + word] & fired[word]) & ~without[below, first + word]
                some |= more[below, first + word]
            worlds.apart[below] |= some != NO_WORLD
    worlds.ever[below] |= moved
    return moved


@inlined
def _strike(chance: float, row: int, worlds: Worlds, luck_of_it: np.uint64, undecided: UInt64, fired: UInt64) -> bool:
    """Lets what needs no cause happen with a chance in each world, in both of its pair; whether it happened in any."""
    words, ever = worlds.without.shape[1], False
    if chance >= RARE:
        for first in range(0, words, BLOCK):
            size = min(BLOCK, words - first)
            undecided[:] = EVERY_WORLD
            _strikes(chance, size, luck_of_it + np.uint64(first) * STRIDE, undecided, fired)
            for word in range(size):
                worlds.without[row, first + word] |= fired[word]
                ever |= fired[word] != NO_WORLD
    elif chance > 0.0:
        log_miss, world, draw = np.log1p(-chance), -1.0, 0
        while True:
            world = np.floor(world) + 1.0 + np.log(_uniform(luck(luck_of_it, draw))) / log_miss
            if world >= words * WORD:
                break
            worlds.without[row, int(world) >> 6] |= np.uint64(1) << np.uint64(int(world) & 63)
            ever, draw = True, draw + 1
    return ever


@inlined
def _strikes(chance: float, words: int, luck_of_it: np.uint64, undecided: UInt64, fired: UInt64) -> None:
    """Of undecided worlds, each with a chance goes to `fired`: of a random number and the chance, both binary, the first digit that differs decides.

    Half of what is undecided is decided by each digit, so few are needed, and fewer where few worlds are given. The luck of a world does
    not depend on the others given.
    """
    for word in range(words):
        fired[word] = NO_WORLD
    some = EVERY_WORLD
    while some != NO_WORLD and chance > 0.0:
        luck_of_it += STEP
        chance *= 2.0
        digit = EVERY_WORLD if chance >= 1.0 else NO_WORLD
        if chance >= 1.0:
            chance -= 1.0
        some = NO_WORLD
        for word in range(words):
            differs = mixed(luck_of_it + np.uint64(word) * STRIDE) ^ digit
            fired[word] |= undecided[word] & differs & digit
            undecided[word] &= ~differs
            some |= undecided[word]


@inlined
def _uniform(word: np.uint64) -> float:
    """Above 0 and at most 1."""
    return (float(word >> np.uint64(11)) + 1.0) / 9007199254740992.0


@inlined
def luck(of: np.uint64, part: int) -> np.uint64:
    """A random word that stands for a part of something: the same ones give the same word."""
    return mixed(of + np.uint64(part + 1) * STEP)


@inlined
def mixed(word: np.uint64) -> np.uint64:
    """SplitMix64 (Steele et al. 2014): words STEP apart become independent."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@compiled
def _counted(worlds: UInt64) -> Int64:
    """Bits set in each row: pairs of them are added up, then fours, then bytes (Warren 2013, ch. 5)."""
    counts = np.zeros(worlds.shape[0], np.int64)
    for row in range(worlds.shape[0]):
        for word in range(worlds.shape[1]):
            bits = worlds[row, word]
            bits -= (bits >> np.uint64(1)) & np.uint64(0x5555555555555555)
            bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
            bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
            counts[row] += np.int64((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))
    return counts
