"""Synthetic tables are reproducible, streamed and written atomically."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlsys.data.demo import MIN_EVENTS, DemoSummary, generate, writer
from mlsys.data.demo.process import BLOCK
from mlsys.errors import ConfigError


def digests(summary: DemoSummary) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in summary.files]


def column(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy()


def test_same_seed_and_size_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (generate(tmp_path / name, events=6_000, seed=5) for name in "ab")
    assert digests(first) == digests(second)


def test_another_seed_gives_other_bytes(tmp_path: Path) -> None:
    first, second = (generate(tmp_path / str(seed), events=6_000, seed=seed) for seed in (5, 6))
    assert all(a != b for a, b in zip(digests(first), digests(second), strict=True))


def test_chunk_size_does_not_change_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_ROW_GROUP", 7_000)  # several row groups, ending inside chunks
    sizes = (1, 3 * BLOCK, 1_000_000)
    made = [generate(tmp_path / str(size), events=60_000, seed=1, chunk_accounts=size) for size in sizes]
    assert pq.ParquetFile(made[0].files[2]).num_row_groups == -(-made[0].events // 7_000)
    assert digests(made[0]) == digests(made[1]) == digests(made[2])


def test_larger_tables_start_with_smaller_ones(tmp_path: Path) -> None:
    small, large = (generate(tmp_path / str(events), events=events, seed=2) for events in (3_000, 12_000))
    rows = pq.read_table(large.files[2]).slice(0, small.events)
    assert pq.read_table(small.files[2]).equals(rows)


@pytest.mark.parametrize("events", [MIN_EVENTS, 15_000, 50_000])
def test_requested_events_are_reached(tmp_path: Path, events: int) -> None:
    summary = generate(tmp_path, events=events, seed=4)
    customers, free, usage = (pq.read_table(path) for path in summary.files)
    assert summary.events == usage.num_rows
    assert events <= summary.events < 1.05 * events
    assert summary.customers == customers.num_rows
    ids = np.concatenate([column(customers, "id"), column(free, "id")])
    assert summary.accounts == np.unique(ids).size == ids.max()
    assert np.isin(column(usage, "id"), ids).all()


def test_nothing_is_left_behind_when_interrupted(tmp_path: Path) -> None:
    seen = []

    def stop(events: int) -> None:
        seen.append(events)
        assert any(tmp_path.iterdir())
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, events=40_000, chunk_accounts=BLOCK, progress=stop)
    assert 0 < seen[0] < seen[1]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_keeps_existing_tables(tmp_path: Path) -> None:
    def stop(events: int) -> None:
        raise RuntimeError("stop")

    before = generate(tmp_path, events=MIN_EVENTS, seed=1)
    bytes_before = digests(before)
    with pytest.raises(RuntimeError, match="stop"):
        generate(tmp_path, events=4_000, seed=2, progress=stop)
    assert digests(before) == bytes_before
    assert len(list(tmp_path.iterdir())) == 3


def test_progress_ends_at_the_number_of_events(tmp_path: Path) -> None:
    seen: list[int] = []
    summary = generate(tmp_path, events=40_000, chunk_accounts=BLOCK, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == summary.events


def test_all_values_that_are_too_small_are_listed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        generate(tmp_path / "new", events=100, seed=-1, chunk_accounts=0)
    assert [problem.where for problem in caught.value.problems] == ["events", "seed", "chunk_accounts"]
    assert "from 2,000" in str(caught.value)
    assert not (tmp_path / "new").exists()
