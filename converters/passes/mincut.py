"""Minimum cut by Dinic's algorithm (Dinitz 1970): the cheapest way to say yes or no to a set of things, when each
answer has a price and so has every disagreement between two of them."""

from __future__ import annotations

from collections import deque

INFINITE = 1 << 80


class Cut:
    """Variables are numbers from `variable()`.  `solve()` returns (price, the variables that say yes);
    among equally cheap answers it is the one with the fewest yes."""

    def __init__(self) -> None:
        self._edges: list[list[int]] = [[], []]         # per vertex: numbers of its edges; 0 says no, 1 says yes
        self._to: list[int] = []
        self._room: list[int] = []

    def variable(self, no: int = 0, yes: int = 0) -> int:
        """A new variable; `no` and `yes` are what each answer costs."""
        self._edges.append([])
        v = len(self._edges) - 1
        if yes:
            self._edge(0, v, yes)
        if no:
            self._edge(v, 1, no)
        return v

    def disagree(self, one: int, many: list[int], price: int, price_of_yes: int | None = None) -> None:
        """Charge `price` once if any of `many` answers differently from `one`; `price_of_yes`: what it is if `one` says yes."""
        price_of_yes = price if price_of_yes is None else price_of_yes
        if not many or not (price or price_of_yes):
            return
        some_yes, some_no = self.variable(), self.variable()
        self._edge(one, some_yes, price)
        self._edge(some_no, one, price_of_yes)
        for v in many:
            self._edge(some_yes, v, INFINITE)
            self._edge(v, some_no, INFINITE)

    def _edge(self, a: int, b: int, room: int) -> None:
        for u, v, r in ((a, b, room), (b, a, 0)):
            self._edges[u].append(len(self._to))
            self._to.append(v)
            self._room.append(r)

    def _levels(self) -> list[int]:
        level = [-1] * len(self._edges)
        level[0] = 0
        queue = deque([0])
        while queue:
            u = queue.popleft()
            for e in self._edges[u]:
                v = self._to[e]
                if self._room[e] and level[v] < 0:
                    level[v] = level[u] + 1
                    queue.append(v)
        return level

    def _push(self, level: list[int], at: list[int]) -> int:
        """One augmenting path along rising levels; 0 when there is none left."""
        path: list[int] = []
        u = 0
        while u != 1:
            if at[u] < len(self._edges[u]):
                e = self._edges[u][at[u]]
                v = self._to[e]
                if self._room[e] and level[v] == level[u] + 1:
                    path.append(e)
                    u = v
                else:
                    at[u] += 1
            elif path:
                u = self._to[path.pop() ^ 1]
                at[u] += 1
            else:
                return 0
        flow = min(self._room[e] for e in path)
        for e in path:
            self._room[e] -= flow
            self._room[e ^ 1] += flow
        return flow

    def _can_reach_yes(self) -> set[int]:
        reached, queue = {1}, deque([1])
        while queue:
            v = queue.popleft()
            for e in self._edges[v]:
                u = self._to[e]
                if self._room[e ^ 1] and u not in reached:
                    reached.add(u)
                    queue.append(u)
        return reached - {1}

    def solve(self) -> tuple[int, set[int]]:
        total = 0
        while True:
            level = self._levels()
            if level[1] < 0:
                return total, self._can_reach_yes()
            at = [0] * len(self._edges)
            while flow := self._push(level, at):
                total += flow
