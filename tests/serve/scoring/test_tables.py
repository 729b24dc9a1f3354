"""CSV, Parquet and Arrow tables: checked by column, with problems reported by row."""

import pyarrow as pa
import pytest

from mlsys.runs.input_column import input_columns
from serve.scoring import InvalidInput, Scorer
from serve.scoring.fields import Inputs
from serve.scoring.tables import block_of, read_csv


@pytest.fixture(scope="module")
def scorer(run_of):
    return Scorer.load(run_of("logistic"))


def table(scorer, rows, **columns):
    data = {
        "users": [1.0, 2.0], "industry": ["Bank", None], "mrr": [None, 2.0], "empty": [None, None],
        "plan": ["pro", "free"], "trend": [0.0, 0.0],
    } | columns  # fmt: skip
    return pa.table({name: column for name, column in data.items() if column is not None})


def problems(call, *arguments):
    with pytest.raises(InvalidInput) as caught:
        call(*arguments)
    return caught.value.problems


def test_columns_may_be_of_any_type_of_number_and_text(scorer, rows):
    expected = scorer.score_table(table(scorer, rows)).probabilities
    other = table(
        scorer,
        rows,
        users=pa.array([1, 2], pa.int16()),
        industry=pa.array(["Bank", None]).dictionary_encode(),
        mrr=pa.array([None, 2], pa.float32()),
        empty=pa.nulls(2),
        plan=pa.array(["pro", "free"], pa.large_string()),
        trend=pa.chunked_array([[0.0], [0.0]]),
        id=[7, 8],
        as_of=["2020-01-06"] * 2,
    )
    assert (scorer.score_table(other).probabilities == expected).all()
    assert len(scorer.score_table(other.slice(0, 0)).probabilities) == 0
    assert (scorer.score_table(other.slice(1)).probabilities == expected[1:]).all()


def test_every_column_that_is_wrong_is_named(scorer, rows):
    wrong = table(scorer, rows, users=None, user=[1, 2], plan=[1, 2], trend=["0", "0"], mrr=[True, False])
    found = {each["field"]: each for each in problems(scorer.score_table, wrong)}
    assert found.keys() == {"users", "user", "plan", "trend", "mrr"}
    assert found["users"]["nearest"] == "user"
    assert found["plan"]["message"] == "The column plan has the type int64; expected text."
    twice = table(scorer, rows)
    twice = twice.append_column("plan", twice.column("plan"))
    assert "appears 2 times" in problems(scorer.score_table, twice)[0]["message"]


def test_every_cell_that_is_wrong_is_named(scorer, rows):
    wrong = table(scorer, rows, users=[None, 1e39], plan=["pro", None], trend=[float("inf"), 0.0])
    found = [(each["row"], each["field"], each["got"]) for each in problems(scorer.score_table, wrong)]
    assert sorted(found) == [(0, "trend", "Infinity"), (0, "users", "null"), (1, "plan", "null"), (1, "users", "1e+39")]


def test_a_corrupt_table_is_refused(scorer, rows):
    text = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"\xff\xfeab"))
    (found,) = problems(scorer.score_table, table(scorer, rows, plan=text))
    assert found["message"].startswith("The table is corrupt")


def test_a_cell_far_down_is_named_by_its_row(scorer, rows):
    long = pa.concat_tables([table(scorer, rows)] * 400 + [table(scorer, rows, plan=["pro", None])])
    (found,) = problems(scorer.score_table, long)
    assert found["row"] == 801


def test_an_empty_cell_of_a_csv_is_null_and_text_stays_text(scorer):
    csv = 'users,industry,mrr,empty,plan,trend\n1,Bank,,,pro,0\n2,,2.0,,"free",0.0\n3,007,1e2,,"a ""b""",-1\n'
    scored = read_csv(csv.encode(), scorer.inputs)
    assert scored.column("industry").to_pylist() == ["Bank", None, "007"]
    assert scored.column("plan").to_pylist() == ["pro", "free", 'a "b"']
    assert scored.column("mrr").to_pylist() == [None, 2.0, 100.0]
    assert len(scorer.score_table(scored).probabilities) == 3


def test_every_csv_cell_that_is_not_a_number_is_named(scorer):
    csv = "users,industry,mrr,empty,plan,trend\n" + "1,Bank, 2 ,,pro,0\n" * 3 + "many,Bank,2 EUR,,pro, 0\n"
    found = [(each["row"], each["field"], each["got"]) for each in problems(read_csv, csv.encode(), scorer.inputs)]
    assert found == [(3, "users", '"many"'), (3, "mrr", '"2 EUR"')]


def test_wrong_columns_of_a_csv_are_named_with_its_wrong_cells(scorer):
    csv = b"users,industry,mrr,empty,plan,nmae,id\nmany,Bank,2,,pro,Acme,7\n"
    with pytest.raises(InvalidInput) as caught:
        read_csv(csv, scorer.inputs, ("id",))
    assert [each["field"] for each in caught.value.problems] == ["trend", "nmae", "users"]


@pytest.mark.parametrize("data", [b"", b"a,b\n1\n", b"\xff\xfe,b\n1,2\n"])
def test_data_that_is_not_csv_is_one_problem(scorer, data):
    (found,) = problems(read_csv, data, scorer.inputs)
    assert found["message"].startswith("The body is not a CSV table")


def test_a_table_without_number_columns():
    schema = {"inputs": [{"name": "plan", "dtype": "string", "nullable": False, "categories": ["free", "pro"]}]}
    block, problems = block_of(pa.table({"plan": ["pro", "free"]}), Inputs(input_columns(schema, {})), 0)
    assert (block.numbers.shape, [list(column) for column in block.categories]) == ((2, 0), [["pro", "free"]])
    assert problems == []
