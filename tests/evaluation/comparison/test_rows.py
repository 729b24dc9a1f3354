import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from mlsys.evaluation.comparison.rows import Alignment


def frame(ids, as_of="2020-01-01"):
    return pd.DataFrame({"id": ids, "as_of": pd.Timestamp(as_of) if as_of else pd.NaT})


def test_rows_match_by_id_and_as_of():
    ours = pd.concat([frame([1, 2, 3]), frame([1, 2], "2020-02-01")], ignore_index=True)
    theirs = pd.concat([frame([2, 9], "2020-02-01"), frame([3])], ignore_index=True)
    shared = Alignment([ours, theirs]).shared(0, 1)
    assert shared.first.tolist() == [2, 4]
    assert shared.second.tolist() == [2, 0]


def test_ids_of_another_type_do_not_match():
    assert len(Alignment([frame([1, 2]), frame(["1", "2"])]).shared(0, 1)) == 0


def test_a_repeated_id_is_certain_only_if_all_rows_are_equal():
    same = Alignment([frame([1, 1, 2], None), frame([1, 1, 2], None), frame([1, 2, 1], None), frame([1, 2], None)])
    assert same.is_certain(0, 1)
    assert not same.is_certain(0, 2)
    assert not same.is_certain(0, 3)
    assert same.is_certain(3, 3)
    assert len(same.shared(0, 1)) == 3


@given(st.lists(st.lists(st.integers(0, 12), unique=True), min_size=2, max_size=4))
def test_common_rows_are_those_of_all(ids):
    frames = [frame(each) for each in ids]
    common = Alignment(frames).common(range(len(ids)))
    found = [[each[position] for position in positions] for each, positions in zip(ids, common, strict=True)]
    assert all(each == found[0] for each in found)
    assert sorted(found[0]) == sorted(set.intersection(*map(set, ids)))


def test_nothing_shared_with_an_empty_run():
    shared = Alignment([frame([1]), frame([1]).iloc[:0]]).shared(0, 1)
    assert np.array_equal(shared.first, [])
