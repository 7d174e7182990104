from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tinynet.converters.passes.mincut import Cut

prices = st.integers(0, 20)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_the_cut_is_the_cheapest_answer(data):
    n = data.draw(st.integers(1, 5))
    own = [(data.draw(prices), data.draw(prices)) for _ in range(n)]
    # Variables 0 is "always no", the others are 1..n.
    ties = data.draw(
        st.lists(
            st.tuples(st.integers(0, n), st.lists(st.integers(0, n), min_size=1, max_size=3), prices), max_size=6
        )
    )

    cut = Cut()
    var = [0] + [cut.variable(no, yes) for no, yes in own]
    for one, many, price in ties:
        cut.disagree(var[one], sorted({var[m] for m in many}), price)
    price, yes = cut.solve()
    found = [False] + [v in yes for v in var[1:]]

    def cost(answers):
        total = sum(own[i][answers[i + 1]] for i in range(n))
        for one, many, p in ties:
            total += p * (not answers[one] and any(answers[m] for m in many))
            total += p * (answers[one] and any(not answers[m] for m in many))
        return total

    every = [[False, *answers] for answers in itertools.product((False, True), repeat=n)]
    assert price == cost(found) == min(cost(a) for a in every)
    assert sum(found) == min(sum(a) for a in every if cost(a) == price)
