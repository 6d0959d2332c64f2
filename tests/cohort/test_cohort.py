"""A cohort's sum: right, or nobody learns anything; whoever vanishes, lies, or asks twice."""

from __future__ import annotations

import random
from itertools import combinations

import msgspec
import numpy as np
import pytest

from qsynth.cohort import masks, messages
from qsynth.cohort.session import threshold
from qsynth.errors import PacketError, ShapeError
from qsynth.privacy import Sum
from tests.cohort.fleet import NOW_MS, SITUATION, UNTIL_MS, Drawn, answer, identities, members, run

ORDER = (messages.BEGIN, messages.ADD, messages.AGREE, messages.OPEN, messages.SHOW)


def expected(step: int, places, sums) -> np.ndarray:
    """The obvious twin: the members' numbers, added by hand."""
    return sum(Drawn(place).numbers(sums, b"") for place in places)


def check_sums(member) -> None:
    sums: list[Sum] = []
    for step, opening in enumerate(member.openings):
        assert member.sums[step].members == len(opening.members)
        np.testing.assert_array_equal(
            member.sums[step].numbers, expected(step, opening.members, sums)
        )
        sums.append(member.sums[step])


def test_a_sum_is_that_of_the_numbers_to_the_last_bit() -> None:
    cohort = members(16, 11)
    collector = run(cohort)
    assert collector.ended is True
    assert [s.members for s in collector.member.sums] == [16, 16]
    check_sums(collector.member)
    for other in cohort[1:]:
        other.take(collector.member.openings[-1])
        check_sums(other)
    assert all(len(member.numbers.paid) == 1 for member in cohort)


def schedule(number: int, rng: random.Random) -> dict[int, tuple[int, str]]:
    """Return when members vanish for good: five at most, each at its own step or all at one."""
    gone = rng.sample(range(1, 16), rng.choice([1, 3, 5, 5, 5]))
    once = (rng.randrange(2), rng.choice(ORDER))
    return {p: once if number % 2 else (rng.randrange(2), rng.choice(ORDER)) for p in gone}


@pytest.mark.parametrize("count", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_any_five_of_sixteen_may_vanish_at_any_step(count) -> None:
    """Each at its own step, or all at one: the sum arrives, and it is right."""
    rng, arrived = random.Random(1), 0
    for number in range(count):
        when = schedule(number, rng)

        def alive(place: int, kind: str, step: int, when=when) -> bool:
            if place not in when:
                return True
            last, until = when[place]
            begun = 0 if kind == messages.BEGIN else step
            return (begun, ORDER.index(kind)) < (last, ORDER.index(until))

        cohort = members(16, 11, make=lambda place: Drawn(place, sizes=(6, 3)))
        collector = run(cohort, alive)
        assert collector.ended is not None
        if not collector.ended:
            assert not collector.member.sums or len(collector.member.sums) == 1
            continue
        arrived += 1
        sums: list[Sum] = []
        for step, opening in enumerate(collector.member.openings):
            twin = sum(Drawn(p, sizes=(6, 3)).numbers(sums, b"") for p in opening.members)
            np.testing.assert_array_equal(collector.member.sums[step].numbers, twin)
            assert len(opening.members) >= 11
            sums.append(collector.member.sums[step])
    assert arrived == count


def test_a_sixth_ends_it_and_nothing_was_learned() -> None:
    gone = set(range(10, 16))
    collector = run(members(16, 11), lambda place, kind, step: place not in gone)
    assert collector.ended is False
    assert collector.member.sums == []


def test_masked_numbers_are_evenly_spread_and_differ_each_time() -> None:
    seen = []
    for name in (b"a" * 16, b"b" * 16):
        cohort = members(4, 3, lambda p: Drawn(p, sizes=(4000, 1)), session=name)
        given = []
        run(
            cohort,
            change=lambda place, kind, made, given=given: (
                given.append(made.numbers) or made if kind == messages.ADD else made
            ),
        )
        seen.append(masks.unpack(given[0], 4000, masks.NUMBER_BYTES))
    for words in seen:
        shares = np.histogram(words, bins=16, range=(0, masks.MODULUS))[0] / 4000
        assert abs(shares - 1 / 16).max() < 0.02
    assert np.mean(seen[0] == seen[1]) < 0.01


# -- a collector that lies ---------------------------------------------------------------------


def given_numbers(cohort):
    """Return a cohort whose members have given their first numbers, and those."""
    begun = [member.begun for member in cohort]
    joined = [messages.Joined(place, b.keys, b.bound, b.signature) for place, b in enumerate(begun)]
    body = [
        messages.Add(None, bytes(16), 0, joined, [b.sealed[place] for b in begun])
        for place in range(len(cohort))
    ]
    return [member.add(b) for member, b in zip(cohort, body, strict=True)]


def opening_request(added, places, agreed=()):
    told = [messages.digest(added[place].numbers) for place in places]
    return messages.Open(None, bytes(16), 0, list(places), told, list(agreed))


def test_who_claims_that_a_live_member_is_lost_learns_nothing_of_it() -> None:
    """Shares of a member's mask and of its secret are never given both, by enough to use them."""
    cohort = members(7, 5)
    added = given_numbers(cohort)
    everybody = list(range(7))
    claimed = [0, 1, 2, 3, 4, 5]
    whole = [answer(m, messages.OPEN, opening_request(added, everybody)) for m in cohort[:3]]
    # Those three have opened the sum of all: they sign no other set.
    assert all(whole)
    for member in cohort[:3]:
        asked = messages.Agree(None, bytes(16), 0, claimed)
        assert answer(member, messages.AGREE, asked) is None
    signed = [
        (place, answer(cohort[place], messages.AGREE, messages.Agree(None, bytes(16), 0, claimed)))
        for place in (3, 4, 5)
    ]
    proofs = [(place, agreed.signature) for place, agreed in signed]
    for member in cohort:
        assert answer(member, messages.OPEN, opening_request(added, claimed, proofs)) is None
    # Forged and repeated signatures are none.
    forged = [(place, proofs[0][1]) for place in range(6)] + proofs * 3
    for member in cohort[3:6]:
        assert answer(member, messages.OPEN, opening_request(added, claimed, forged)) is None


def test_members_open_one_set_a_step_whatever_they_are_asked() -> None:
    """All orders of two requests: no member's mask and secret can both be put together."""
    for first, second in ((list(range(7)), list(range(6))), (list(range(6)), list(range(7)))):
        cohort = members(7, 5)
        added = given_numbers(cohort)
        for members_ in (first, second):
            body = messages.Agree(None, bytes(16), 0, members_)
            proofs = [
                (m.place, made.signature)
                for m in cohort
                if (made := answer(m, messages.AGREE, body)) is not None
            ]
            opened = [
                answer(m, messages.OPEN, opening_request(added, members_, proofs)) for m in cohort
            ]
            if members_ is second:
                assert sum(map(bool, opened)) <= 1  # of five: who has signed nothing before


def test_numbers_are_opened_once_and_for_the_commitments_of_then_alone() -> None:
    cohort = members(5, 3)
    added = given_numbers(cohort)
    body = opening_request(added, range(5))
    first = answer(cohort[1], messages.OPEN, body)
    assert first is not None
    other = msgspec.structs.replace(body, commitments=[bytes(32), *body.commitments[1:]])
    again = answer(cohort[1], messages.OPEN, other)
    assert again == first  # the check that was made for the first ones
    mine = list(body.commitments)
    mine[1] = bytes(32)
    altered = msgspec.structs.replace(body, commitments=mine)
    assert answer(cohort[2], messages.OPEN, altered) is not None  # not its own
    assert answer(cohort[1], messages.OPEN, altered) is None


@pytest.mark.parametrize(
    "few", [[0, 1, 2, 3], [1, 2, 3, 4, 5, 6, 6], [6, 5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5, 9], []]
)
def test_sets_that_are_too_small_or_malformed_are_neither_signed_nor_opened(few) -> None:
    cohort = members(7, 5)
    added = given_numbers(cohort)
    body = messages.Agree(None, bytes(16), 0, few)
    assert [answer(m, messages.AGREE, body) for m in cohort] == [None] * 7
    told = [messages.digest(added[p % 7].numbers) for p in few]
    asked = messages.Open(None, bytes(16), 0, few, told, [])
    assert [answer(m, messages.OPEN, asked) for m in cohort] == [None] * 7


def altered(opening, **changes):
    return msgspec.structs.replace(opening, **changes)


def lies(opening, size: int):
    """Yield openings that are not what the members have given."""
    total = masks.unpack(opening.total, size, masks.TOTAL_BYTES)
    for at, by in ((0, 1), (size - 1, 2**31), (3, masks.MODULUS)):
        moved = total.copy()
        moved[at] += np.uint64(by)
        yield "total", altered(opening, total=masks.pack(moved, masks.TOTAL_BYTES))
    yield "seed", altered(opening, seeds=[bytes(16), *opening.seeds[1:]])
    yield (
        "swapped",
        altered(opening, seeds=[opening.seeds[1], opening.seeds[0], *opening.seeds[2:]]),
    )
    yield "fewer", altered(opening, members=opening.members[:-1])
    collector, first, *others = opening.checks
    yield "check", altered(opening, checks=[collector, (first[0] ^ 1, first[1]), *others])
    yield "unsigned", altered(opening, checks=[collector, (0, b""), *others])
    yield "commitment", altered(opening, commitments=[bytes(32), *opening.commitments[1:]])
    yield "lost", altered(opening, lost=[(2, bytes(16))])
    moved, by = total.copy(), np.uint64(1000)
    moved += by  # who collects claims that it has given more
    own = masks.unpack(opening.own, size, masks.NUMBER_BYTES) + by
    given = masks.pack(own % np.uint64(masks.MODULUS), masks.NUMBER_BYTES)
    yield "own", altered(opening, total=masks.pack(moved, masks.TOTAL_BYTES), own=given)


@pytest.mark.parametrize("which", range(11))
def test_a_sum_that_is_altered_is_taken_by_nobody(which) -> None:
    cohort = members(5, 3, lambda p: Drawn(p, sizes=(40,)))
    collector = run(cohort)
    opening = collector.member.openings[0]
    name, lie = list(lies(opening, 40))[which]
    for member in cohort[1:]:
        with pytest.raises(PacketError):
            member.take(lie)
        assert member.sums == [], name
    cohort[1].take(opening)  # the right one still is


def test_who_collects_fails_on_members_that_lie_and_tells_nobody() -> None:
    """A member's own false check, seed or share ends the session: it can spoil, not alter."""

    def spoiled(place: int, kind: str, made):
        if place != 3 or kind != messages.OPEN or made is None:
            return made
        return msgspec.structs.replace(made, seed=bytes(16), check=5)

    collector = run(members(5, 3), change=spoiled)
    # Its mask is put together from the others' shares; its numbers are shown instead of its check.
    assert collector.ended is True
    check_sums(collector.member)


def test_bad_shares_of_one_member_do_not_stop_the_others() -> None:
    def torn(place: int, kind: str, made):
        if place == 2 and kind == messages.BEGIN:
            return msgspec.structs.replace(made, sealed=[bytes(len(s)) for s in made.sealed])
        return made

    collector = run(members(6, 4), change=torn)
    assert collector.ended is True
    check_sums(collector.member)


def test_rosters_that_are_not_ones_own_are_refused() -> None:
    cohort = members(5, 3)
    session = cohort[0].session
    stranger = members(6, 3)[5]
    with pytest.raises(PacketError):
        type(stranger)(stranger.identity, stranger.offered, session, Drawn(0))
    with pytest.raises(PacketError):
        type(stranger)(cohort[0].identity, bytes(16)[:-1] + b"x", session, Drawn(0))
    assert [threshold(n, 3) for n in (3, 4, 7, 16, 64)] == [3, 3, 5, 11, 43]


def test_a_member_that_may_not_pay_gives_nothing() -> None:
    class Poor(Drawn):
        def pay(self, session: bytes) -> bool:
            return False

    collector = run(
        members(5, 3, lambda place: Poor(place) if place in (1, 2, 3) else Drawn(place))
    )
    assert collector.ended is False
    one = run(members(5, 3, lambda place: Poor(place) if place == 1 else Drawn(place)))
    assert one.ended is True
    assert one.member.openings[0].members == [0, 2, 3, 4]


def test_a_step_is_given_once() -> None:
    cohort = members(4, 3)
    given_numbers(cohort)
    body = messages.Add(None, bytes(16), 0, [], [])
    assert answer(cohort[1], messages.ADD, body) is None
    assert answer(cohort[1], messages.ADD, messages.Add(None, bytes(16), 1, [], [])) is None


# -- arithmetic --------------------------------------------------------------------------------


def test_fixed_point_there_and_back() -> None:
    values = np.array([0.0, -1.0, 1.5, -(2.0**18), 2.0**18 - 2**-12])
    np.testing.assert_array_equal(masks.floating(masks.fixed(values, 12), 12), values)
    total = masks.fixed(values, 12) + masks.fixed(-values, 12)
    np.testing.assert_array_equal(masks.floating(total, 12), np.zeros(5))
    for bad in (np.nan, np.inf, masks.largest(12), -masks.largest(12)):
        with pytest.raises(ShapeError):
            masks.fixed(np.array([bad]), 12)


def test_words_there_and_back_and_no_other_length() -> None:
    words = np.array([0, 1, 2**32 - 1, 2**38], np.uint64)
    assert np.array_equal(masks.unpack(masks.pack(words, 5), 4, 5), words)
    with pytest.raises(PacketError):
        masks.unpack(bytes(19), 4, 5)


def test_as_many_shares_as_it_takes_give_a_secret_and_fewer_do_not() -> None:
    secret = bytes(range(16))
    shares = list(enumerate(masks.split(secret, 3, 5)))
    assert all(masks.combine(chosen) == secret for chosen in combinations(shares, 3))
    assert all(masks.combine(chosen) != secret for chosen in combinations(shares, 2))


def test_what_is_sealed_is_read_by_its_receiver_alone() -> None:
    one, other = (masks.private_key(bytes([n] * 16)) for n in (1, 2))
    key = masks.shared(one, masks.public_key(other), b"a")
    assert key == masks.shared(other, masks.public_key(one), b"a")
    assert key != masks.shared(one, masks.public_key(other), b"b")
    sealed = masks.seal(key, b"\1", b"share")
    assert masks.unseal(key, b"\1", sealed) == b"share"
    for wrong, sender in ((bytes(32), b"\1"), (key, b"\2")):
        with pytest.raises(PacketError):
            masks.unseal(wrong, sender, sealed)
    assert masks.seal(key, b"\2", b"share") != sealed
    with pytest.raises(PacketError):
        masks.shared(one, bytes(32), b"a")


def test_offers_hold_for_their_situation_and_time_alone() -> None:
    identity = identities(1)[0]
    offer = messages.make_offer(identity, SITUATION, bytes(32), UNTIL_MS, b"")
    assert messages.holds(offer, SITUATION, NOW_MS)
    assert not messages.holds(offer, bytes(32), NOW_MS)
    assert not messages.holds(offer, SITUATION, UNTIL_MS)
    for change in ({"key": bytes([1] * 32)}, {"expires_ms": UNTIL_MS + 1}, {"author": bytes(32)}):
        assert not messages.holds(msgspec.structs.replace(offer, **change), SITUATION, NOW_MS)


def test_what_a_member_sends_and_receives_fits_its_budget() -> None:
    """A cohort of 16 at d=64, one sum and both steps: kibibytes of one member, there and back."""
    square = 64 * 65 // 2
    assert spent((10 * 65 + square,)) <= 64 * 1024
    assert spent((1 + 64 + square, 10 * 65 + square)) <= 80 * 1024


def spent(sizes: tuple[int, ...]) -> int:
    sent: dict[int, int] = {}

    def count(place: int, kind: str, body):
        sent[place] = sent.get(place, 0) + len(msgspec.msgpack.encode(body))
        return body

    collector = run(members(16, 11, lambda p: Drawn(p, sizes=sizes)), change=count, tell=count)
    last = len(msgspec.msgpack.encode(collector.member.openings[-1]))
    return max(sent.values()) + last


def test_a_seed_is_said_by_its_member_only_where_enough_have_signed_the_set() -> None:
    """Whom one asks alone to open the sum of all, while the others open that without it."""
    cohort = members(16, 11)
    added = given_numbers(cohort)
    alone = answer(cohort[5], messages.OPEN, opening_request(added, range(16)))
    assert alone.seed == b""
    rest = [place for place in range(16) if place != 5]
    body = messages.Agree(None, bytes(16), 0, rest)
    proofs = [(p, answer(cohort[p], messages.AGREE, body).signature) for p in rest]
    opened = [answer(cohort[p], messages.OPEN, opening_request(added, rest, proofs)) for p in rest]
    assert all(each.seed for each in opened)
    # Of the one they have given shares of the secret; of its seed nobody has.
    shares = [share for each in opened for place, share in each.shares if place == 5]
    assert masks.combine(list(zip(rest, shares, strict=True))[:11]) == cohort[5]._secrets[0]
    assert all(
        masks.combine([(p, s) for p, s in zip(rest, shares, strict=True)][:k])
        != cohort[5]._seeds[0]
        for k in (10, 11, 12)
    )


def test_who_vanishes_at_a_later_step_has_given_nothing_away_of_the_one_before() -> None:
    collector = run(members(6, 4), lambda place, kind, step: place != 2 or step == 0)
    assert collector.ended is True
    first, second = collector.member.openings
    assert 2 in first.members
    ((gone, secret),) = second.lost
    assert gone == 2
    joined = collector.member.joined[2]
    assert masks.public_key(masks.private_key(secret)) == joined.keys[1]
    assert joined.keys[0] != joined.keys[1]


def test_a_part_is_paid_for_under_a_name_that_nobody_else_chooses() -> None:
    one, other = members(4, 3), members(4, 3)  # the same session, by name and roster
    for cohort in (one, other):
        given_numbers(cohort)
    names = [member.numbers.paid for cohort in (one, other) for member in cohort]
    assert len({name for (name,) in names}) == 8


def test_keys_that_share_nothing_are_refused_before_anything_is_paid() -> None:
    def weak(place: int, kind: str, made):
        if place == 2 and kind == messages.BEGIN:
            return msgspec.structs.replace(made, keys=[bytes(32)] * 2)
        return made

    cohort = members(6, 4)
    collector = run(cohort, change=weak)
    assert collector.ended is True  # without it
    assert collector.member.openings[0].members == [0, 1, 3, 4, 5]
    assert cohort[2].numbers.paid == []
    assert not masks.usable(bytes(32))
    assert not masks.usable(b"short")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (messages.OPEN, messages.Open(None, bytes(16), step, [0, 1, 2, 3], [b""] * 4, []))
        for step in (1, -1, 2**63 - 1)
    ]
    + [
        (messages.OPEN, messages.Open(None, bytes(16), 0, members_, [b""] * 4, [(0, b"")]))
        for members_ in ([0, 1, 2, 300], [-5, 0, 1, 2], [0, 0, 1, 2])
    ]
    + [(messages.SHOW, messages.Show(None, bytes(16), step, 9, b"", b"")) for step in (-1, 0, 5)]
    + [(messages.AGREE, messages.Agree(None, bytes(16), 0, [0, 1, 2, 999]))],
)
@pytest.mark.parametrize("given", [False, True])
def test_requests_that_make_no_sense_are_refused(kind, body, given) -> None:
    cohort = members(4, 3)
    if given:
        given_numbers(cohort)
    assert answer(cohort[1], kind, body) is None


def test_an_end_before_the_last_step_or_without_content_is_refused() -> None:
    cohort = members(5, 3)
    collector = run(cohort, lambda place, kind, step: kind != messages.ADD or step == 0)
    first = collector.member.openings[0]
    empty = msgspec.structs.replace(first, commitments=[])
    for opening in (first, empty):
        with pytest.raises(PacketError):
            cohort[1].end(opening)
    assert cohort[1].sums == []


def test_a_roster_beyond_the_cohort_is_refused() -> None:
    with pytest.raises(PacketError):
        members(9, 3, lambda place: Drawn(place, most=8))
