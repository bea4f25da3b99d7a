"""What does every back end of MultiNode promise?

A site with a back end of its own runs the same tests.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from functools import reduce
from typing import Any

import numpy as np
import pytest

from tests.workflow.multinode import programs
from tests.workflow.multinode.programs import GEOMETRIES
from workflow.errors import UnprocessableData
from workflow.multicore import Grant, use
from workflow.multinode import RankFailed, RankLate, RankLost, launch

PROGRAMS: list[tuple[Any, ...]] = [
    (1, programs.collectives, 0),
    (1, programs.squares, 23),
    (2, programs.memory_is_free_again),
    (2, programs.large_both_ways, 16),
    (2, programs.squares, 0),
    (2, programs.mixed_up),
    (3, programs.identity),
    (3, programs.ring_of_objects),
    (3, programs.order_and_tags),
    (3, programs.collectives, 2),
    (3, programs.arrays, 1),
    (3, programs.pickled_beside_arrays),
    (3, programs.slow_first, 12),
    *((3, programs.exchange, name) for name in GEOMETRIES),
    (3, programs.diffusion, 3, 4, 6),
    (4, programs.collectives, 0),
    (4, programs.sum_of_floats),
    (4, programs.squares, 23),
]
"""What groups of ranks do to their end: how many there are, the program and its arguments."""

MISTAKES = (
    r"An array of int64 \(3,\) was sent, and one of int64 \(4,\) is to receive it",
    r"is received by the same verb",
    r"An object was sent where an array is received",
    r"Arrays of object have no plain memory to send",
    r"There is no rank 2: 2 ranks count from 0\.",
    r"A tag is a number from 0 to 9999, not -1\.",
    r"3 objects for 2 ranks",
    r"Rank 1 gives values for 0 places; it holds 1",
    r"'x' is no place of <Ring of 2 places>",
)


class MultiNodeContract(ABC):
    """The tests; a subclass names its back end."""

    backend: str
    late_by = 30.0

    @pytest.fixture(scope="class")
    @classmethod
    @abstractmethod
    def options(cls) -> dict[str, Any]:
        """Give what `launch` needs besides."""

    @classmethod
    def run(cls, options: dict[str, Any], ranks: int, program: Any, *arguments: Any) -> list[Any]:
        return launch(
            program, *arguments, ranks=ranks, backend=cls.backend, timeout=60.0, **options
        )

    @pytest.fixture(scope="class")
    @classmethod
    def found(cls, options: dict[str, Any]) -> Any:
        """Give what a program returned, by rank; those of one group were run together."""
        groups: dict[int, list[Any]] = {}

        def found(ranks: int, program: Any, *arguments: Any) -> list[Any]:
            wanted = [(p, *a) for n, p, *a in PROGRAMS if n == ranks]
            if ranks not in groups:
                groups[ranks] = cls.run(options, ranks, programs.several, wanted)
            place = wanted.index((program, *arguments))
            return [results[place] for results in groups[ranks]]

        return found

    def test_ranks_know_themselves(self, found: Any) -> None:
        ranks = found(3, programs.identity)
        assert [f[:4] for f in ranks] == [(r, 3, r, 3) for r in range(3)]
        assert {f[4] for f in ranks} == {os.uname().nodename}

    def test_one_rank_is_a_group_too(self, found: Any) -> None:
        [alone] = found(1, programs.collectives, 0)
        assert alone["gather"] == alone["allgather"] == [1]
        assert alone["alltoall"] == [(0, 0)]

    def test_objects_and_their_arrays_arrive_as_they_were_sent(self, found: Any) -> None:
        for seen in found(3, programs.ring_of_objects):
            assert seen == [
                True,
                ("big-endian", ">f4", (7,), True),
                ("columns", "float64", (3, 4), True),
                ("sliced", "int64", (7,), True),
                ("empty", "int16", (0, 5), True),
                ("nothing", "object", (), True),
                ("records", "[('n', '<i4'), ('x', '<f8')]", (1,), True),
            ]

    def test_what_was_sent_and_received_is_nobody_elses(self, found: Any) -> None:
        seen = found(2, programs.memory_is_free_again)
        assert seen == [[101.0, 101.0, 1.0, 1.0, -1.0], [100.0, 100.0, 0.0, 0.0, -1.0]]

    def test_messages_of_a_source_and_tag_keep_their_order(self, found: Any) -> None:
        odd, even = found(3, programs.order_and_tags)[0]
        assert odd == [("odd", n) for n in range(5)] * 2
        assert even == [("even", n) for n in range(5)] * 2

    @pytest.mark.parametrize(("ranks", "root"), [(4, 0), (3, 2)])
    def test_collective_verbs_on_objects(self, found: Any, ranks: int, root: int) -> None:
        everyone = list(range(1, ranks + 1))
        for rank, seen in enumerate(found(ranks, programs.collectives, root)):
            assert seen == {
                "bcast": {"from": root},
                "scatter": f"for {rank}",
                "gather": everyone if rank == root else None,
                "allgather": everyone,
                "alltoall": [(r, rank) for r in range(ranks)],
                "sum": sum(everyone) if rank == root else None,
                "product": reduce(lambda a, b: a * b, everyone),
                "largest": [ranks, -1],
                "smallest": 1,
                "all": False,
                "in order": "".join(str(r) for r in range(ranks)),
            }

    @pytest.mark.parametrize(("ranks", "root"), [(3, 1)])
    def test_collective_verbs_on_arrays(self, found: Any, ranks: int, root: int) -> None:
        everything = np.arange(3.0 * ranks).reshape(ranks, 3)
        mine = np.arange(4.0) + np.arange(ranks)[:, np.newaxis]
        for rank, seen in enumerate(found(ranks, programs.arrays, root)):
            assert seen == {
                "Bcast": everything.tolist(),
                "Scatter": everything[rank].tolist(),
                "Gather": mine.tolist() if rank == root else None,
                "Allgather": mine.tolist(),
                "Reduce": mine.sum(axis=0).tolist() if rank == root else None,
                "Allreduce": mine.max(axis=0).tolist(),
            }

    def test_arrays_are_sent_without_pickling_them(self, found: Any) -> None:
        (n_bytes, _), *_ = ranks = found(3, programs.pickled_beside_arrays)
        assert n_bytes < 4096
        assert [right for _, right in ranks] == [True] * 3

    def test_sums_are_in_the_order_of_ranks(self, found: Any) -> None:
        expected = (((1e16 + 1.0) - 1e16) + 1e-3).hex()
        assert found(4, programs.sum_of_floats) == [expected] * 4

    def test_two_ranks_may_send_each_other_any_amount_at_once(self, found: Any) -> None:
        assert found(2, programs.large_both_ways, 16) == [1.0, 0.0]

    @pytest.mark.parametrize("ranks", [1, 4])
    def test_map_gives_results_in_the_order_of_items(self, found: Any, ranks: int) -> None:
        seen = found(ranks, programs.squares, 23)
        assert seen[0][0] == [k * k for k in range(23)]
        assert [results for results, _ in seen[1:]] == [None] * (ranks - 1)
        assert sorted(k for _, done in seen for k in done) == list(range(23))

    def test_map_gives_the_next_item_to_whoever_is_free(self, found: Any) -> None:
        seen = found(3, programs.slow_first, 12)
        assert seen[0][0] == list(range(12))
        assert [n for _, n in seen] == [0, 1, 11]

    def test_map_of_nothing_is_nothing(self, found: Any) -> None:
        assert found(2, programs.squares, 0) == [([], []), (None, [])]

    @pytest.mark.parametrize("name", GEOMETRIES)
    def test_places_hear_from_their_neighbours(self, found: Any, name: str) -> None:
        geometry = GEOMETRIES[name]
        heard, told, total = found(3, programs.exchange, name)[0]
        assert list(heard) == list(told) == list(geometry.places)
        for place in geometry.places:
            for direction, neighbour in geometry.neighbours(place).items():
                back = geometry.opposite(place, direction)
                here = None if neighbour is None else f"value of {neighbour}"
                assert heard[place][direction] == here
                assert told[place][direction] == back
        assert [heard, told, total] == list(launch(programs.exchange, name, ranks=1,
                                                   backend="threads")[0])  # fmt: skip

    def test_halos_give_the_same_bits_on_any_number_of_ranks(self, found: Any) -> None:
        alone = launch(programs.diffusion, 3, 4, 6, ranks=1, backend="threads")[0]
        seen = found(3, programs.diffusion, 3, 4, 6)[0]
        assert list(seen) == list(alone)
        assert all(np.array_equal(seen[place], alone[place]) for place in alone)

    def test_a_rank_that_raises_ends_the_others_with_its_traceback(
        self, options: dict[str, Any]
    ) -> None:
        with pytest.raises(RankFailed, match="Rank 2 on .* UnprocessableData: the sky") as caught:
            self.run(options, 3, programs.raises_on, 2)
        assert caught.value.rank == 2
        assert re.search(r'programs\.py", line \d+, in raises_on', str(caught.value))
        cause = caught.value.__cause__
        assert isinstance(cause, UnprocessableData)
        assert cause.metadata == {"level": 7}

    def test_a_late_rank_is_named_not_the_one_that_waits_for_it(
        self, options: dict[str, Any]
    ) -> None:
        with pytest.raises(RankLate, match=r"Rank 2 on .* waited 0\.3 s for it") as caught:
            self.run(options, 4, programs.late_on, 2, 0.3, self.late_by)
        assert (caught.value.rank, caught.value.host) == (2, os.uname().nodename)

    def test_ranks_that_wait_in_a_circle_are_told_so(self, options: dict[str, Any]) -> None:
        with pytest.raises(RankLate, match=r"in a circle, each for the next, ranks \d -> \d"):
            self.run(options, 3, programs.in_a_circle, 0.3)

    def test_ranks_that_disagree_are_told_how(self, found: Any) -> None:
        for told, wanted in zip(found(2, programs.mixed_up)[1], MISTAKES, strict=True):
            assert re.search(wanted, told), told

    def test_ranks_share_the_cores_of_the_job(self, options: dict[str, Any]) -> None:
        with use(Grant(7)):
            assert self.run(options, 3, programs.cores) == [2, 2, 2]


class KilledRanks:
    """What holds where a rank is a process."""

    backend: str

    def test_a_killed_rank_ends_the_others(self, options: dict[str, Any]) -> None:
        with pytest.raises(RankLost, match=r"Rank 1 on .* \(killed by SIGKILL\)") as caught:
            launch(programs.killed_on, 1, ranks=3, backend=self.backend, **options)
        assert caught.value.rank == 1

    def test_a_result_that_cannot_travel_is_told(self, options: dict[str, Any]) -> None:
        with pytest.raises(RankFailed, match="pickle"):
            launch(programs.cannot_travel, ranks=2, backend=self.backend, **options)
