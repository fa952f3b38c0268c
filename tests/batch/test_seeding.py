"""Streams addressed by identity: the same address the same draws, another address others."""

import hashlib
import itertools

import numpy as np
import pytest
from simulated import Z, partners

from simtrial.generate import STAGES, simulate
from simtrial.scenario import load
from simtrial.seeding import stream


def test_the_same_address_gives_the_same_stream() -> None:
    a, b = (stream(7, '{"mechanism.practices.number":20}', 3, "outcomes.mansa") for _ in range(2))
    assert np.array_equal(a.standard_normal(1000), b.standard_normal(1000))


@pytest.mark.parametrize(
    "other",
    [(8, "cell", 3, "dropout"), (7, "cel", 3, "dropout"), (7, "cell", 4, "dropout"), (7, "cell", 3, "dropouT")],
    ids=["seed", "cell", "block", "step"],
)
def test_each_part_of_the_address_gives_another_stream(other: tuple[int, str, int, str]) -> None:
    here, there = stream(7, "cell", 3, "dropout").random(1000), stream(*other).random(1000)
    assert not np.any(here == there)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**127, 2**128, 2**200 + 7])
@pytest.mark.parametrize("block", [0, 12, 2**32 + 1])
def test_a_stream_and_what_it_spawns_are_those_of_its_seed_and_spawn_key(seed: int, block: int) -> None:
    named = np.frombuffer(hashlib.sha256(b"cell\0step").digest()[:16], dtype="<u4").tolist()
    plain = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(*named, block))))
    found = stream(seed, "cell", block, "step")
    assert np.array_equal(found.random(9), plain.random(9))
    for own, other in zip(found.spawn(3), plain.spawn(3), strict=True):
        assert np.array_equal(own.random(9), other.random(9))


def test_cell_and_step_do_not_run_together() -> None:
    assert stream(1, "a", 0, "bc").random() != stream(1, "ab", 0, "c").random()


def test_stream_positions_do_not_depend_on_what_was_drawn_elsewhere() -> None:
    first, second = stream(1, "", 0, "a"), stream(1, "", 0, "b")
    expected = second.random(10)
    first.random(12345)
    assert np.array_equal(stream(1, "", 0, "b").random(10), expected)


def test_a_hundred_thousand_addresses_never_start_alike() -> None:
    """Two 64-bit words agree by chance somewhere among 1e5 with probability 1e10 / 2 / 2^64 = 3e-10."""
    seeds, cells, blocks, names = (1, 2, 2**62), ("", "a", "b", "c"), range(1042), (*STAGES[:6], "method:a", "method:b")
    words = [
        int(stream(*address).integers(0, 2**64, dtype=np.uint64))
        for address in itertools.product(seeds, cells, blocks, names)
    ]
    assert len(words) > 100_000
    assert len(set(words)) == len(words)


def test_neighbouring_streams_are_uncorrelated() -> None:
    """200 correlations of 2,000 draws, each with standard error 1/sqrt(2000); their squares too are as by chance."""
    draws = np.stack([stream(1, "", block, "outcomes.mansa").standard_normal(2000) for block in range(201)])
    r = (draws[1:] * draws[:-1]).mean(axis=1) * np.sqrt(2000)
    assert np.abs(r).max() < 5.0  # 200 standard normals: 1e-4
    assert abs((r**2).mean() - 1.0) < Z * np.sqrt(2 / 200)


def test_stages_of_one_block_are_uncorrelated() -> None:
    draws = np.stack([stream(1, "", 0, stage).standard_normal(20_000) for stage in STAGES])
    r = np.corrcoef(draws)[np.triu_indices(len(STAGES), 1)] * np.sqrt(20_000)
    assert np.abs(r).max() < 5.0


def test_global_randomness_is_neither_used_nor_touched() -> None:
    mechanism = partners()
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    first = simulate(mechanism, 20, 1, "", 0)
    after = np.random.get_state()  # noqa: NPY002
    assert np.array_equal(before[1], after[1])
    assert before[2:] == after[2:]
    np.random.seed(2)  # noqa: NPY002
    second = simulate(mechanism, 20, 1, "", 0)
    for name, column in first.columns.items():
        assert np.array_equal(column.values, second.columns[name].values, equal_nan=True), name


def test_a_whole_analysis_leaves_global_randomness_alone() -> None:
    from simtrial.run.block import block_rows

    _, (cell,) = load("partners", ["run.block=4"])
    before = np.random.get_state()  # noqa: NPY002
    block_rows(cell, 0)
    after = np.random.get_state()  # noqa: NPY002
    assert np.array_equal(before[1], after[1])
    assert before[2:] == after[2:]
