"""Frames on disk: the same values as in memory, mapped instead of copied, and files that vanish."""

import errno

import numpy as np
import pandas as pd
import pytest

from mlsys.data import disk_frame
from mlsys.data.compact import columns_of, take_rows
from mlsys.data.disk_frame import DiskFrame, batches_of
from mlsys.errors import DataError

ROWS = 5


@pytest.fixture
def columns():
    texts = pd.array(["a", None, "ß", "", "a"], dtype="str")
    days = pd.Series(pd.date_range("2020-01-01", periods=ROWS)).astype("datetime64[us]")
    return {
        "number": np.array([1, np.nan, np.inf, -0.0, 5], dtype=np.float32),
        "exact": np.arange(ROWS) / 3,
        "text": texts,
        "nothing": pd.Series([None] * ROWS, dtype=object).array,
        "known": np.array([True, False, True, True, False]),
        "label": np.array([0, 1, 0, 0, 1], dtype=np.int8),
        "as_of": days.array,
    }


@pytest.fixture
def frame(columns, tmp_path):
    return DiskFrame.of(columns.items(), tmp_path)


def test_values_and_types_are_those_in_memory_and_no_file_is_left(columns, frame, tmp_path):
    pd.testing.assert_frame_equal(pd.DataFrame(frame), pd.DataFrame(columns))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("positions", [[4, 0, 0], [1, 2], [], [True, False, True, False, True]])
def test_rows_are_those_in_memory_and_stay_on_disk(columns, frame, positions):
    rows = np.array(positions, dtype=bool if True in positions else np.int64)
    taken = take_rows(frame, rows)
    expected = take_rows(pd.DataFrame(columns), rows).reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.DataFrame(taken.reset_index(drop=True)), expected)
    assert (type(taken), taken.folder) == (DiskFrame, frame.folder)
    assert not taken["number"].to_numpy().flags.writeable  # a mapped file, not a copy


def test_ranges_columns_and_batches_share_the_file(frame):
    assert np.shares_memory(take_rows(frame, np.array([1, 2]))["exact"], frame["exact"])
    part = columns_of(frame, ["exact", "text"])
    assert np.shares_memory(part["exact"], frame["exact"])
    assert [type(batch) for batch in part.batches(rows=2)] == [DiskFrame] * 3
    assert pd.concat(part.batches(rows=2))["text"].equals(frame["text"])


def test_a_batch_has_as_many_rows_as_fit_its_size(frame, monkeypatch):
    monkeypatch.setattr(disk_frame, "BATCH_BYTES", 4 * 7 * 2)
    assert [len(batch) for batch in batches_of(frame)] == [2, 2, 1]
    assert [len(batch) for batch in batches_of(pd.DataFrame(frame))] == [ROWS]


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "Read-only")])
def test_a_full_disk_is_named_with_the_way_out(columns, tmp_path, monkeypatch, number, reason):
    def full(*_, **__):
        raise OSError(number, "Read-only file system")

    monkeypatch.setattr(disk_frame, "TemporaryFile", full)
    with pytest.raises(DataError, match=rf"{tmp_path}: .*{reason}.*data\.cache_dir"):
        DiskFrame.of(columns.items(), tmp_path)
