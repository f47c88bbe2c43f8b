"""All states of one cluster at once: how likely each is, and what that says about which of its targets other clusters leave silent.

A state's bit i is the member at place i; members stand in causal order. Bit j of a set z is the j-th target from the last, so that the
target that comes first has the highest: member after member halves the sets and doubles the states. With c the silence of a target
within the cluster and A(z) the probability that none in z is brought about from elsewhere, a target is

    off: c A(z + target)        on: A(z) - c A(z + target)

which after the last member is P(state), and read backwards takes a weight of each state to a weight of each set. Tables are flat,
set by set, states within (`[z * states + state]`): the innermost loops are the long ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reasoning.native import inlined
from schema.batches import Float64, Int64

LEAST = 1e-300
LEAST_PRIOR = 1e-40  # below what differences of doubles can resolve

Int8 = NDArray[np.int8]


@inlined
def silences(leak: Float64, factor: Float64, size: int, silence: Float64) -> None:
    """P(neither its leak nor a member before it brings about member i), for each state p of those, at silence[(1 << i) - 1 + p].

    leak: Float64[size]. factor: Float64[8, 8], of effect i and cause j what a cause that holds leaves of that silence.
    """
    for i in range(size):
        own = silence[(1 << i) - 1 : (2 << i) - 1]
        own[0] = 1.0 - leak[i]
        for j in range(i):
            off, on = own[: 1 << j], own[1 << j :]
            for p in range(1 << j):
                on[p] = off[p] * factor[i, j]


@inlined
def shares(silence: Float64, leading: int, share: Float64) -> None:
    """P(state) of the first members, none of them a target."""
    share[0] = 1.0
    for i in range(leading):
        own, off, on = silence[(1 << i) - 1 :], share[: 1 << i], share[1 << i :]
        for p in range(1 << i):
            on[p] = off[p] * (1.0 - own[p])
            off[p] *= own[p]


@inlined
def fold(silence: Float64, share: Float64, is_target: Int64, leading: int, silent: Float64, joint: Float64, other: Float64) -> None:
    """From A(z), Float64[2 ** targets], to P(state), `joint`: Float64[2 ** members]. is_target: Int64[members], 0 or 1.

    silence, share: of `silences` and `shares`. leading: how many members come before the first target. other: room.
    """
    sets, count, odd = silent.size, 1 << leading, (is_target.size - leading) & 1
    table, to = other if odd else joint, joint if odd else other
    for z in range(sets):
        row, likely = table[z * count :], silent[z]
        for p in range(count):
            row[p] = likely * share[p]
    for i in range(leading, is_target.size):
        count = 1 << i
        own = silence[count - 1 :]
        sets >>= is_target[i]
        for z in range(sets):
            either, neither = table[z * count :], table[(z + sets * is_target[i]) * count :]
            off, on = to[2 * z * count :], to[(2 * z + 1) * count :]
            for p in range(count):
                quiet = own[p] * neither[p]
                off[p] = quiet
                on[p] = either[p] - quiet
        table, to = to, table


@inlined
def unfold(silence: Float64, share: Float64, is_target: Int64, leading: int, answer: Float64, table: Float64, other: Float64) -> None:
    """From a weight of each state, in `table`, to one of each set, `answer`: what A(z) is multiplied with in the weights' expectation."""
    sets = 1
    for i in range(is_target.size - 1, leading - 1, -1):
        count = 1 << i
        own = silence[count - 1 :]
        for z in range(sets):
            off, on = table[2 * z * count :], table[(2 * z + 1) * count :]
            either, neither = other[z * count :], other[(z + sets) * count :]
            if is_target[i]:
                for p in range(count):
                    neither[p] = own[p] * (off[p] - on[p])
                    either[p] = on[p]
            else:
                for p in range(count):
                    either[p] = on[p] + own[p] * (off[p] - on[p])
        sets <<= is_target[i]
        table, other = other, table
    count = 1 << leading
    for z in range(sets):
        row, weight = table[z * count :], 0.0
        for p in range(count):
            weight += share[p] * row[p]
        answer[z] = weight


@inlined
def weigh(joint: Float64, likelihood: Float64) -> float:
    """P(state), Float64[states], becomes P(state) times likelihood; returns their sum."""
    total = 0.0
    for state in range(joint.size):
        joint[state] = max(joint[state], LEAST_PRIOR) * likelihood[state]
        total += joint[state]
    return max(total, LEAST)


@inlined
def sum_out(joint: Float64, places: Int8, room: Float64, marginal: Float64) -> None:
    """The marginal of the members at two places, the second -1: of one. joint: Float64[states], left alone; marginal: Float64[4].

    The first place is the lower bit of the marginal's index. room: Float64[states].
    """
    for state in range(joint.size):
        room[state] = joint[state]
    blocks, bit = 1, joint.size >> 1
    while bit > 0:
        if bit == 1 << places[0] or (places[1] >= 0 and bit == 1 << places[1]):
            blocks *= 2
        else:
            for block in range(blocks):
                to, low, high = room[block * bit :], room[2 * block * bit :], room[(2 * block + 1) * bit :]
                for p in range(bit):
                    to[p] = low[p] + high[p]
        bit >>= 1
    marginal[:] = 0.0
    for each in range(blocks):
        marginal[each] = room[each]
    if places[0] > places[1] >= 0:
        marginal[1], marginal[2] = room[2], room[1]


@inlined
def beliefs(joint: Float64, belief: Float64) -> None:
    """Sums the states in which each member holds. joint: Float64[states] is used up."""
    i, bit = 0, joint.size >> 1
    while 1 << i < bit:
        i += 1
    while bit > 0:
        low, high = joint[:bit], joint[bit:]
        holds = 0.0
        for p in range(bit):
            holds += high[p]
            low[p] += high[p]
        belief[i] = holds
        i, bit = i - 1, bit >> 1
