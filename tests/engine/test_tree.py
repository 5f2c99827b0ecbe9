"""The prefix tree against plain sets of prefixes."""

import random

from stepmark.engine.tree import PrefixTree


class Written:
    """A pool that remembers which sequence each place was written for."""

    def __init__(self, capacity):
        self.tree = PrefixTree(capacity)
        self.prefix_at = {}

    def store(self, tokens, ready=True):
        match = self.tree.match(tokens)
        known = len(match.places)
        assert [self.prefix_at[p] for p in match.places] == [tokens[: i + 1] for i in range(known)]
        if known == len(tokens):
            return match.node
        node = self.tree.extend(match.node, tokens[known:], ready)
        if node is not None:
            for i, place in enumerate(node.places):
                self.prefix_at[place] = tokens[: known + i + 1]
        return node


def random_sequences(count, seed):
    rng = random.Random(seed)
    known = [()]
    for _ in range(count):
        start = rng.choice(known)
        tokens = start[: rng.randint(0, len(start))] + tuple(rng.choices(range(3), k=rng.randint(1, 6)))
        known.append(tokens)
        yield tokens


def test_match_is_the_longest_common_prefix_with_what_was_stored():
    pool, stored = Written(10_000), set()
    for tokens in random_sequences(400, seed=1):
        expected = max(i for i in range(len(tokens) + 1) if i == 0 or tokens[:i] in stored)
        assert len(pool.tree.match(tokens).places) == expected
        pool.store(tokens)
        stored |= {tokens[:i] for i in range(1, len(tokens) + 1)}
    assert len(pool.tree) == len(stored)  # every distinct prefix is held once


def test_eviction_keeps_the_limit_and_never_gives_a_wrong_place():
    pool = Written(64)
    for tokens in random_sequences(2000, seed=2):
        if len(tokens) <= 64:
            assert pool.store(tokens) is not None
            assert len(pool.tree.match(tokens).places) == len(tokens)
        assert len(pool.tree) <= 64


def test_a_pinned_path_is_not_evicted_even_when_it_is_split():
    pool = Written(32)
    pinned = tuple(range(100, 110))
    node = pool.store(pinned)
    node.pins += 1
    pool.store((*pinned[:4], 7))  # splits the pinned node
    for tokens in random_sequences(500, seed=3):
        if len(tokens) <= 20:
            pool.store(tokens)
        assert len(pool.tree.match(pinned).places) == len(pinned)
    node.pins -= 1
    assert pool.store(tuple(range(200, 232))) is not None
    assert len(pool.tree.match(pinned).places) == 0


def test_least_recently_used_leaves_first():
    pool = Written(32)
    old, young = tuple(range(100, 110)), tuple(range(200, 210))
    pool.store(old)
    pool.store(young)
    pool.tree.match(old)
    pool.store(tuple(range(300, 316)))
    assert len(pool.tree.match(old).places) == len(old)
    assert len(pool.tree.match(young).places) == 0


def test_what_is_being_computed_is_known_but_not_ready():
    pool = Written(32)
    pool.store((1, 2))
    pool.store((1, 2, 3, 4), ready=False)
    match = pool.tree.match((1, 2, 3, 5))
    assert len(match.places) == 3
    assert match.ready == 2


def test_no_room_beside_pinned_paths_is_told():
    pool = Written(8)
    pool.store((1, 2, 3, 4)).pins += 1
    assert pool.store((5, 6, 7, 8, 9)) is None
    assert pool.store((5, 6, 7, 8)) is not None
