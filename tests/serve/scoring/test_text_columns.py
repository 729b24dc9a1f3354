"""Text columns as codes of their distinct values."""

import numpy as np
import pyarrow as pa
import pytest

from serve.scoring.text_columns import TextColumn, buffer_values, null_mask, text_column

COLUMN = ["free", None, "pro", "free", "", "pro"]
KINDS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]


def test_parts_and_joins_keep_the_rows():
    column = TextColumn.of(COLUMN)
    assert list(column) == COLUMN
    assert [column[row] for row in range(len(column))] == COLUMN
    parts = [column.part(start, 4) for start in range(0, 6, 4)]
    assert [list(part) for part in parts] == [COLUMN[:4], COLUMN[4:]]
    joined = TextColumn.joined(parts)
    assert list(joined) == COLUMN
    assert sorted(map(str, joined.values)) == ["", "None", "free", "pro"]
    assert list(TextColumn.joined([])) == list(TextColumn.of([])) == []


def test_a_part_keeps_only_its_own_values():
    column = TextColumn.of([f"domain {row}" for row in range(1_000)])
    assert column.part(990, 20).values == [f"domain {row}" for row in range(990, 1_000)]


def test_a_function_is_called_once_for_each_distinct_text():
    calls = []

    def length(text):
        calls.append(text)
        return len(text or "")

    assert TextColumn.of(COLUMN).map(length, np.float64).tolist() == [4, 0, 3, 4, 0, 3]
    assert calls == ["free", None, "pro", ""]
    assert TextColumn.of(COLUMN).rows(lambda text: text == "pro") == [2, 5]
    assert TextColumn.of(COLUMN).rows(lambda text: text == "other") == []


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_arrow_columns_of_every_kind(kind):
    whole = pa.chunked_array([pa.array(COLUMN).cast(kind), pa.array(["free", "new"]).cast(kind)])
    assert list(text_column(whole)) == [*COLUMN, "free", "new"]
    assert list(text_column(whole.slice(3, 4))) == ["free", "", "pro", "free"]
    assert list(text_column(whole.slice(1, 1))) == [None]
    assert list(text_column(whole.slice(0, 0))) == []


def test_a_slice_of_a_long_dictionary_keeps_only_its_own_values():
    long = pa.array([f"domain {row}" for row in range(1_000)]).dictionary_encode()
    assert text_column(pa.chunked_array([long]).slice(5, 2)).values == ["domain 5", "domain 6"]
    gaps = pa.DictionaryArray.from_arrays(pa.array([7, None, 7], pa.int32()), long.dictionary)
    assert list(text_column(pa.chunked_array([gaps]))) == ["domain 7", None, "domain 7"]
    none = pa.DictionaryArray.from_arrays(pa.array([None, None], pa.int32()), pa.array([], pa.string()))
    assert list(text_column(pa.chunked_array([none]))) == [None, None]


def test_a_column_of_type_null_is_null():
    assert list(text_column(pa.chunked_array([pa.nulls(2)]))) == [None, None]


def test_values_are_read_from_buffers():
    array = pa.array([None, 1.5, None, 3.0]).slice(1)
    assert null_mask(array).tolist() == [False, True, False]
    assert buffer_values(array)[[0, 2]].tolist() == [1.5, 3.0]
    assert buffer_values(pa.array([], pa.int64())).tolist() == []
