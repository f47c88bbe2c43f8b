"""Who held which address when."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from graph.address_book import SECOND, STRANGER_TIME_TO_LIVE, STRANGERS, AddressBook
from schema.identity import EntityRef


def pod(name: str) -> EntityRef:
    return EntityRef("pod", "c", "shop", name)


CART, SEARCH = EntityRef("service", "c", "shop", "cart"), EntityRef("service", "c", "shop", "search")
NODE = EntityRef("node", "c", "", "n1")
IP = "10.0.0.7"


def book() -> AddressBook:
    return AddressBook(limit=100, time_to_live=900 * SECOND, lead=10 * SECOND)


def test_the_service_that_speaks_from_an_address_is_its_owner() -> None:
    known = book()
    known.bind(IP, pod("cart-1"), CART, 100 * SECOND)
    assert known.owner(IP, 100 * SECOND) == CART
    assert known.owner("10.0.0.8", 100 * SECOND) is None


def test_a_pod_that_takes_over_an_address_gets_nothing_of_its_past() -> None:
    known = book()
    known.bind(IP, pod("cart-1"), CART, 100 * SECOND)
    known.bind(IP, pod("cart-1"), CART, 200 * SECOND)
    known.bind(IP, pod("search-1"), SEARCH, 300 * SECOND)
    assert [known.owner(IP, time * SECOND) for time in (100, 200, 250, 300, 400)] == [CART, CART, CART, SEARCH, SEARCH]


def test_a_pod_that_comes_back_to_its_address_does_not_own_the_time_between() -> None:
    known = book()
    for holder, service, time in ((pod("cart-1"), CART, 100), (pod("search-1"), SEARCH, 200), (pod("cart-1"), CART, 300)):
        known.bind(IP, holder, service, time * SECOND)
    assert [known.owner(IP, time * SECOND) for time in (150, 250, 300)] == [CART, SEARCH, CART]


def test_a_new_pod_is_called_a_little_before_it_is_known() -> None:
    known = book()
    known.bind(IP, pod("cart-1"), CART, 100 * SECOND)
    assert known.owner(IP, 91 * SECOND) == CART
    assert known.owner(IP, 89 * SECOND) is None


def test_a_pod_long_gone_is_nobody() -> None:
    known = book()
    known.bind(IP, pod("cart-1"), CART, 100 * SECOND)
    assert known.owner(IP, 1000 * SECOND) == CART
    assert known.owner(IP, 1001 * SECOND) is None


def test_a_pod_that_sends_no_spans_is_itself_the_answer_and_a_machine_with_many_services_is_none() -> None:
    known = book()
    known.bind(IP, pod("quiet-1"), None, SECOND)
    known.bind("10.0.0.1", NODE, CART, SECOND)
    assert known.owner("10.0.0.1", SECOND) == CART
    known.bind("10.0.0.1", NODE, SEARCH, SECOND)
    assert (known.owner(IP, SECOND), known.owner("10.0.0.1", SECOND)) == (pod("quiet-1"), None)


def test_an_address_that_two_hold_at_once_names_neither_and_is_counted() -> None:
    known = book()
    for time in (100, 200):
        known.bind(IP, pod("cart-1"), CART, time * SECOND)
        known.bind(IP, pod("search-1"), SEARCH, time * SECOND)
    assert known.owner(IP, 150 * SECOND) is None
    assert known.dropped == {"address_contested": 1}


def test_the_table_is_bounded_and_what_was_bound_longest_ago_goes_first() -> None:
    known = AddressBook(limit=2)
    for number in range(3):
        known.bind(f"10.0.0.{number}", pod(f"p{number}"), None, SECOND)
    assert [known.owner(f"10.0.0.{number}", SECOND) for number in range(3)] == [None, pod("p1"), pod("p2")]
    assert known.dropped == {"address_table_full": 1}


def test_few_addresses_of_nobody_stand_for_themselves_and_the_rest_are_counted() -> None:
    known = book()
    assert sum(known.admits(f"10.{number // 250}.{number % 250}.1", SECOND) for number in range(1000)) == STRANGERS
    assert known.dropped == {"unknown_address": 1000 - STRANGERS}
    assert known.admits("10.0.0.1", 2 * SECOND)
    assert known.admits("10.99.0.1", 3 * SECOND + STRANGER_TIME_TO_LIVE)


BINDINGS = st.tuples(st.sampled_from([("cart-1", CART), ("cart-2", CART), ("search-1", SEARCH)]), st.integers(0, 400))


@settings(max_examples=200)
@given(st.lists(BINDINGS, min_size=1, max_size=4), st.integers(0, 500))
def test_the_order_in_which_a_window_is_learnt_does_not_matter(bindings: list[tuple[tuple[str, EntityRef], int]], at: int) -> None:
    """Windows close in order, so only bindings of one time arrive shuffled."""
    time = bindings[0][1] * SECOND
    answers = set()
    for order in permutations(bindings):
        known = book()
        for (name, service), _ in order:
            known.bind(IP, pod(name), service, time)
        answers.add(known.owner(IP, at * SECOND))
    assert len(answers) == 1
