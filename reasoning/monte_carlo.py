"""do() on networks too wide for exact elimination: worlds sampled 64 to a machine word, with and without the cause, under the same luck.

What the cause can reach is sampled, and what else causes that. The two worlds of a pair differ in nothing but what is forced,
so their difference is far surer than either. A share of N worlds has the standard error sqrt(p (1 - p) / N).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasoning.native import compiled
from reasoning.network import Bool, CausalNetwork, FeedbackLinks
from reasoning.solution import fill_forward
from schema.batches import Float64, Int32, Int64

UInt64 = NDArray[np.uint64]

WORD = 64
WORLDS = 1_024
MOST_SAMPLED = 20_000  # variables beside those below the cause; the rest is taken as independent, at its usual probability
MOST_WORDS = 1 << 23  # sampled at once, 64 MB for each world of the pair
STEP, STRIDE = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)  # from one random word to the next, of a digit and of 64 worlds
RARE = 0.06  # below, to draw the next world in which luck strikes costs less than to draw a bit for every world


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
    own = network.leak[variables]
    with_the_rest(variables, network.parent_ptr, network.parent, network.strength, sampled, outside, own)
    inner = back.only(sampled[back.cause] & sampled[back.effect])
    links = (network.parent_ptr, network.parent, network.strength, inner.cause, inner.effect, inner.strength)
    left, counts = -(-worlds // WORD), np.zeros((2, variables.size), np.int64)
    while left:
        words = min(left, max(WORLDS // WORD, MOST_WORDS // variables.size))
        counts += sample_pairs(cause, variables, sampled, own, *links, words, random.integers(1 << 63, dtype=np.uint64))
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
def with_the_rest(variables: Int64, parent_ptr: Int64, parent: Int32, strength: Float64, sampled: Bool, outside: Float64, own: Float64) -> None:
    """Lets the leaks of k variables, own: Float64[k], stand for their causes that are not sampled, too. outside: Float64[n], P(holds)."""
    for k in range(variables.size):
        silence = 1.0 - own[k]
        for link in range(parent_ptr[variables[k]], parent_ptr[variables[k] + 1]):
            if not sampled[parent[link]]:
                silence *= 1.0 - strength[link] * outside[parent[link]]
        own[k] = 1.0 - silence


@compiled
def sample_pairs(
    cause: int,
    variables: Int64,
    sampled: Bool,
    own: Float64,
    parent_ptr: Int64,
    parent: Int32,
    strength: Float64,
    back_cause: Int32,
    back_effect: Int32,
    back_strength: Float64,
    words: int,
    seed: np.uint64,
) -> tuple[Int64, Int64]:
    """How many worlds each of k variables holds in with the cause and without it, Int64[k] each. own: Float64[k], their leaks.

    What feedback links add is carried down again until they add nothing: the least fixpoint, as luck does not change.
    """
    place = np.empty(sampled.size, np.int32)
    with_it, without = np.zeros((variables.size, words), np.uint64), np.zeros((variables.size, words), np.uint64)
    ever = np.zeros(variables.size, np.bool_)  # holds in any world
    for k in range(variables.size):
        place[variables[k]] = k
    with_it[place[cause]], ever[place[cause]] = ~np.uint64(0), True
    first = moved = True
    while moved:
        for k in range(variables.size):
            x = variables[k]
            if x == cause:
                continue
            if first:
                ever[k] = strike(own[k], k, with_it, without, luck(seed, -1 - x))
            for link in range(parent_ptr[x], parent_ptr[x + 1]):
                if sampled[parent[link]] and ever[place[parent[link]]]:
                    ever[k] |= carry(strength[link], place[parent[link]], k, with_it, without, luck(seed, link))
        first = False
        moved = False
        for link in range(back_cause.size):
            luck_of_it = luck(seed, parent.size + link)
            if carry(back_strength[link], place[back_cause[link]], place[back_effect[link]], with_it, without, luck_of_it):
                ever[place[back_effect[link]]] = moved = True
    return _counted(with_it), _counted(without)


@compiled
def carry(strength: float, above: int, below: int, with_it: UInt64, without: UInt64, luck_of_it: np.uint64) -> bool:
    """Lets a link fire in the worlds where its cause holds, the same ones of each pair and each time; whether that moved anything."""
    moved = False
    for word in range(with_it.shape[1]):
        larger, smaller = with_it[above, word], without[above, word]
        # Worlds in which the effect holds already need no luck.
        open_to_luck = (larger & ~with_it[below, word]) | (smaller & ~without[below, word])
        if open_to_luck != np.uint64(0):
            fired = strikes(strength, open_to_luck, luck_of_it + np.uint64(word) * STRIDE)
            with_it[below, word] |= larger & fired
            without[below, word] |= smaller & fired
            moved |= fired != np.uint64(0)
    return moved


@compiled
def strike(chance: float, row: int, with_it: UInt64, without: UInt64, luck_of_it: np.uint64) -> bool:
    """Lets what needs no cause happen with a chance in each world, in both of its pair; whether it happened in any."""
    words, ever = with_it.shape[1], False
    if chance >= RARE:
        for word in range(words):
            fired = strikes(chance, ~np.uint64(0), luck_of_it + np.uint64(word) * STRIDE)
            with_it[row, word] |= fired
            without[row, word] |= fired
            ever |= fired != np.uint64(0)
    elif chance > 0.0:
        log_miss, worlds = np.log1p(-chance), words * WORD
        world, draw = -1.0, 0
        while True:
            world = np.floor(world) + 1.0 + np.log(uniform(luck(luck_of_it, draw))) / log_miss
            if world >= worlds:
                break
            bit = np.uint64(1) << np.uint64(int(world) & 63)
            with_it[row, int(world) >> 6] |= bit
            without[row, int(world) >> 6] |= bit
            ever, draw = True, draw + 1
    return ever


@compiled
def strikes(chance: float, among: np.uint64, luck_of_it: np.uint64) -> np.uint64:
    """Each of the bits given, kept with a chance: of a random number and the chance, both binary, the first digit that differs decides.

    Half of what is undecided is decided by each random word, so few words are needed, and fewer where few bits are given. The luck
    of a bit does not depend on the others given.
    """
    bits, undecided = np.uint64(0), among
    while undecided != np.uint64(0) and chance > 0.0:
        luck_of_it += STEP
        word = mixed(luck_of_it)
        chance *= 2.0
        if chance >= 1.0:
            chance -= 1.0
            bits |= undecided & ~word
            undecided &= word
        else:
            undecided &= ~word
    return bits


@compiled
def uniform(word: np.uint64) -> float:
    """Above 0 and at most 1."""
    return (float(word >> np.uint64(11)) + 1.0) / 9007199254740992.0


@compiled
def luck(of: np.uint64, part: int) -> np.uint64:
    """A random word that stands for a part of something: the same ones give the same word."""
    return mixed(of + np.uint64(part + 1) * STEP)


@compiled
def mixed(word: np.uint64) -> np.uint64:
    """SplitMix64 (Steele et al. 2014): words STEP apart become independent."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@compiled
def _counted(worlds: UInt64) -> Int64:
    """Bits set in each row."""
    counts = np.zeros(worlds.shape[0], np.int64)
    for row in range(worlds.shape[0]):
        for word in worlds[row]:
            left = word
            while left != np.uint64(0):
                counts[row] += 1
                left &= left - np.uint64(1)
    return counts
