"""Rows with the columns of the training table are scored as in training."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsys.data.table import ColumnRecipe, TableRecipe, apply, read_table
from mlsys.errors import RunError
from mlsys.runs.golden import predict
from serve.scoring import InvalidInput, NotLoadedError, Scorer
from serve.scoring.raw_columns import TrainingTable
from serve.scoring.raw_tables import read_raw_csv
from tests.serve.table_runs import INPUTS, RAW, write_leads_run, write_table_run

ROWS = 60
MISSING = ["", "NA", "n/a", " - ", "null"]


def column(values, *others):
    """Return a strategy for a column: mostly of some values, sometimes of others, in any order."""
    return st.lists(
        st.one_of(st.sampled_from(values), st.sampled_from(values), st.sampled_from([*values, *others])),
        min_size=ROWS,
        max_size=ROWS,
    )


KINDS = {
    "size": column(["1.234,5", "7", "0,25", "-3,5", "2e3"], "1.000.000", *MISSING),
    "weight": column(["10 kg", "12,5 KG", "7kg"], *MISSING),
    "share": column(["5 %", "12,5%", "(3)"], *MISSING),
    "paid": column(["ja", "Nein", "JA "], *MISSING),
    "promo": column(["X", ""], "NA"),
    "day": column(["31.12.2020", "1.2.2021", "15.6.2020"], *MISSING),
    "when": column(["2020-01-31 10:00", "2020-02-01 23:30"], "", "NA"),
    "note": st.lists(st.text("abc de.", min_size=25, max_size=60), min_size=ROWS, max_size=ROWS),
    "tier": column(["Gold", "gold ", "Silver\u00a0", " silver"], "n.a.", *MISSING),
    "code [x]": column(["007", "042", "100"], ""),
    "city": column(["Zürich", "St.  Gallen", "Łódź"], "?"),
}


@st.composite
def tables(draw):
    names = draw(st.lists(st.sampled_from(list(KINDS)), min_size=2, max_size=5, unique=True))
    frame = pd.DataFrame({name: draw(KINDS[name]) for name in names})
    frame.insert(0, "lead", [f"L{number}" for number in range(ROWS)])
    frame["extra"] = [1, 2, 3] * (ROWS // 3)
    return frame.assign(won=["yes", "no"] * (ROWS // 2))


@given(tables(), st.sampled_from([",", ";", "\t"]), st.booleans())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_training_file_gets_the_probabilities_of_the_run(tmp_path_factory, frame, delimiter, is_aged):
    folder = tmp_path_factory.mktemp("run")
    if is_aged:
        frame["at"] = pd.date_range("2022-01-01", periods=ROWS).strftime("%d.%m.%Y")
    data = frame.to_csv(index=False, sep=delimiter).encode()
    (folder / "leads.csv").write_bytes(data)
    run = write_table_run(folder / "run", folder / "leads.csv", id="lead", **({"time": "at"} if is_aged else {}))
    scorer = Scorer.load(run.path)
    raw = read_table(folder / "leads.csv")
    inputs = apply(TableRecipe.from_dict(run.read_json("recipe.json")), raw)
    _, probabilities = predict(run.model, run.calibration, inputs)

    records = json.loads(raw.to_json(orient="records"))
    parquet = io.BytesIO()
    raw.to_parquet(parquet)
    of_inputs = scorer.score_many(json.loads(inputs.to_json(orient="records", double_precision=15)))
    tables_of_inputs = [
        pa.Table.from_pandas(inputs),
        read_raw_csv(inputs.to_csv(index=False).encode(), scorer.inputs, scorer.inputs.raw),
    ]
    results = [
        scorer.score_table(read_raw_csv(data, scorer.inputs, scorer.inputs.raw)),
        scorer.score_table(pq.read_table(parquet)),
        scorer.score_many(records),
        *map(scorer.score_table, tables_of_inputs[: 1 if "," in decimals(run) else 2]),
    ]
    for result in results:
        np.testing.assert_array_equal(result.block.numbers, inputs[[f.name for f in scorer.inputs.numbers]].to_numpy())
        for field, texts in zip(scorer.inputs.categories, result.block.categories, strict=True):
            assert list(texts) == [None if cell != cell else cell for cell in inputs[field.name]]
        np.testing.assert_allclose(result.probabilities, probabilities, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(result.probabilities, results[0].probabilities)
    np.testing.assert_allclose(of_inputs.probabilities, probabilities, rtol=0, atol=1e-9)
    single = [scorer.score(record) for record in records]
    np.testing.assert_allclose([each.probability for each in single], probabilities, rtol=0, atol=1e-12)
    assert [each.warnings for each in single] == [results[0].warnings.get(row, ()) for row in range(ROWS)]


def decimals(run):
    return [each.get("decimal", ".") for each in run.read_json("recipe.json")["columns"]]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return Scorer.load(write_leads_run(tmp_path_factory.mktemp("leads")).path)


def without(record, *names):
    return {name: value for name, value in record.items() if name not in names}


def problems_of(scorer, record):
    """Return the problems of a record, the same alone and in a batch as a table has them."""
    with pytest.raises(InvalidInput) as alone:
        scorer.score(record)
    with pytest.raises(InvalidInput) as many:
        scorer.score_many([INPUTS, record])
    assert [each | {"row": 1} for each in alone.value.problems] == many.value.problems
    return {each["field"]: each["message"] for each in alone.value.problems}


@pytest.mark.parametrize(
    "record",
    [
        RAW,
        {**RAW, "lead": "L7", "extra": 5, "won": "yes"},
        {**without(RAW, "promo", "size [m]"), "promo_filled": 0.0, "size _m_": "2,0"},
        {**INPUTS, "tier": " Gold\u00a0", "paid": True, "size": "2.000,0"},
        {**without(INPUTS, "promo_filled"), "promo": "n/a"},
    ],
)
def test_columns_and_inputs_mean_the_same(scorer, record):
    expected = scorer.score(INPUTS)
    assert scorer.score(record) == expected
    assert scorer.score_many([record]).probabilities[0] == pytest.approx(expected.probability, abs=1e-12)
    table = pa.table({name: [value] for name, value in record.items()})
    result = scorer.score_table(table)
    assert result.values(0) == expected.values
    assert result.warnings == {}


def test_what_converts_cells_is_loaded_only_for_them(scorer):
    fresh = Scorer.load(scorer.run.path)
    fresh.score(INPUTS, may_load=False)
    assert len(fresh.score({**INPUTS, "staff": 1e6}, may_load=False).warnings) == 1
    fresh.score_many([INPUTS])
    fresh.score_table(pa.Table.from_pylist([INPUTS]))
    with pytest.raises(NotLoadedError):
        fresh.score(RAW, may_load=False)
    fresh.load_conversion()
    assert fresh.score(RAW, may_load=False) == scorer.score(RAW)


def test_null_and_marks_for_missing_values_are_the_same(scorer):
    scores = {scorer.score({**RAW, "tier": tier}).values for tier in (None, "NA", " n/a ", "", "-")}
    assert len(scores) == 1


@pytest.mark.parametrize("cell", ["unknown", "1.5.2", "1,5 kg", "yes"])
def test_a_cell_that_does_not_parse_is_missing_with_a_warning(scorer, cell):
    expected = f"size: '{cell}' is not a number with a decimal comma and is scored as missing, as in training."
    single = scorer.score({**RAW, "size": cell})
    assert single.warnings == (expected,)
    assert math.isnan(single.values[0][0])
    assert scorer.score({**RAW, "size": cell}).warnings == (expected,)  # from the cache
    rows = [RAW, {**RAW, "size": cell}]
    assert scorer.score_many(rows).warnings == {1: (expected,)}
    assert scorer.score_table(pa.Table.from_pylist([{**row, "staff": "4,5"} for row in rows])).warnings == {
        1: (expected,)
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"staff": "many"}, {"staff": 'staff is "many"; expected a number with a decimal comma.'}),
        ({"staff": "NA"}, {"staff": 'staff is "NA"; expected a number with a decimal comma.'}),
        ({"staff": True}, {"staff": "staff is true; expected a number below 3.4e38 in size."}),
        ({"joined": "2022-03-18"}, {"joined": 'joined is "2022-03-18"; expected a date such as 24.02.2020.'}),
        ({"at": "soon"}, {"at": 'at is "soon"; expected a date such as 24.02.2020.'}),
        ({"at": ["x"]}, {"at": "at is a list; expected a date such as 24.02.2020."}),
        ({"paid": "vielleicht"}, {"paid": 'paid is "vielleicht"; expected a word for yes or no.'}),
        ({"tier": {}}, {"tier": "tier is an object; expected text or null, such as 'gold', 'silver'."}),
        ({"tier": "\ud800"}, {"tier": "tier is \"\\ud800\"; expected text or null, such as 'gold', 'silver'."}),
        ({"staff": "1" * 2_000}, {"staff": f'staff is "{"1" * 78}…; expected a number with a decimal comma.'}),
        (
            {"joined_month": 3},
            {"joined": "joined is given twice, also as joined_month; send one of them."},
        ),
        ({"size _m_": 3}, {"size [m]": "size [m] is given twice, also as size _m_; send one of them."}),
        ({"tire": "gold"}, {"tire": "'tire' is not an input of the model; closest match: tier."}),
        (
            {"staff": "many", "paid": "?!", "tire": 1},
            {
                "staff": 'staff is "many"; expected a number with a decimal comma.',
                "paid": 'paid is "?!"; expected a word for yes or no.',
                "tire": "'tire' is not an input of the model; closest match: tier.",
            },
        ),
    ],
)
def test_what_cannot_be_read_is_refused(scorer, changes, expected):
    assert problems_of(scorer, {**RAW, **changes}) == expected


def test_missing_columns(scorer):
    assert problems_of(scorer, without(RAW, "joined", "size [m]", "tier", "promo")) == {
        "tier": "tier is missing; expected text or null, such as 'gold', 'silver'.",
        "promo": "promo is missing; expected any value or null, or instead promo_filled.",
        "joined": "joined is missing; expected a date such as 24.02.2020, or instead joined_age_days, "
        "joined_month, joined_weekday.",
        "size [m]": "size [m] is missing; expected a number with a decimal comma, or instead size _m_.",
    }
    assert problems_of(scorer, without(RAW, "at")) == {
        "at": "at is missing; expected a date such as 24.02.2020, because joined counts from it."
    }
    partly = {**without(RAW, "joined"), "joined_month": 3}
    assert set(problems_of(scorer, partly)) == {"joined_age_days", "joined_weekday"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"joined": ["18.3.2022", "soon"]}, {(1, "joined", '"soon"')}),
        ({"at": [None, "20.3.2022"]}, {(0, "at", "null")}),
        ({"staff": ["", "x"]}, {(0, "staff", '""'), (1, "staff", '"x"')}),
        ({"staff": [1e300, 2.0]}, {(0, "staff", "1e+300")}),
        ({"staff": pa.array([[1], [2]])}, {(None, "staff", '"list<item: int64>"')}),
        ({"joined_month": [1, 2]}, {(None, "joined", "both joined and joined_month")}),
        ({"joined": pa.array([2**31 - 1] * 2, pa.date32())}, {(None, "joined", '"date32[day]"')}),
        ({"at": pa.array([0, 0], pa.timestamp("s", "Mars/X"))}, {(None, "at", '"timestamp[s, tz=Mars/X]"')}),
        ({"tire": [1, 2]}, {(None, "tire", '"tire"')}),
    ],
)
def test_problems_of_a_table(scorer, change, expected):
    table = pa.table({name: [value] * 2 for name, value in RAW.items()} | change)
    with pytest.raises(InvalidInput) as caught:
        scorer.score_table(table)
    assert {(each["row"], each["field"], each["got"]) for each in caught.value.problems} == expected


def test_infinite_numbers_are_missing_with_a_warning(scorer):
    table = pa.table({name: [value] * 3 for name, value in RAW.items()} | {"size": [math.inf, None, math.nan]})
    result = scorer.score_table(table)
    assert np.isnan(result.block.numbers[:, 0]).all()
    assert {row: len(each) for row, each in result.warnings.items()} == {0: 1}


def test_parts_in_a_table_must_be_numbers(scorer):
    rows = [{**INPUTS, "joined_month": month, "size": "2"} for month in ("3", "March", "")]
    with pytest.raises(InvalidInput) as caught:
        scorer.score_table(pa.Table.from_pylist(rows))
    assert [(each["row"], each["field"]) for each in caught.value.problems] == [
        (1, "joined_month"),
        (2, "joined_month"),
    ]


def test_a_table_in_several_chunks_has_the_rows_of_its_warnings(scorer, monkeypatch):
    monkeypatch.setattr("serve.scoring.scorer.TABLE_CHUNK", 2)
    monkeypatch.setattr("serve.scoring.scorer.ALONE_FACTOR", 1)
    rows = [
        {**RAW, "size": size, "tier": tier} for size, tier in zip(["1,5", "x", "2", "2", "z"], "abcde", strict=True)
    ]
    result = scorer.score_table(pa.Table.from_pylist(rows))
    assert sorted(result.warnings) == [0, 1, 2, 3, 4]
    assert [len(result.warnings[row]) for row in range(5)] == [1, 2, 1, 1, 2]


def test_a_recipe_that_does_not_match_the_inputs_is_refused(scorer):
    data, fields = scorer.run.read_json("recipe.json"), scorer.inputs.fields
    text = json.dumps(data).replace('"promo_filled"', '"promo"')
    renamed = [replace(each, name="promo") if each.name == "promo_filled" else each for each in fields]
    with pytest.raises(RunError, match="The input promo has the name of another column"):
        TrainingTable(json.loads(text), renamed)
    with pytest.raises(RunError, match=r"does not match schema.json \(KeyError\('tier'"):
        TrainingTable(data, [each for each in fields if each.name != "tier"])
    with pytest.raises(RunError, match="does not say how to make the input more"):
        TrainingTable(data, [*fields, replace(fields[0], name="more")])
    with pytest.raises(RunError, match="version 9"):
        TrainingTable({**data, "version": 9}, fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "frob"}, r"columns\[0\].kind is 'frob', not one of number, boolean"),
        ({"surprise": 1}, r"columns\[0\].surprise is unknown; the fields are name, kind"),
        ({"date_format": "%Q"}, r"columns\[0\].date_format is '%Q', not a date format"),
        ({"parts": "value"}, r"columns\[0\].parts is 'value', not a list of str"),
        ({"parts": []}, r"columns\[0\] has 0 parts, but 1 outputs"),
        ({"name": None}, r"columns\[0\].name is None, not a str"),
        (None, "it is a list, not an object"),
    ],
)
def test_a_corrupt_recipe_is_refused_when_the_run_is_loaded(scorer, monkeypatch, change, message):
    recipe = scorer.run.read_json("recipe.json")
    column = next(each for each in recipe["columns"] if len(each.get("outputs", [])) == 1)
    changed = [] if change is None else recipe | {"columns": [column | change]}
    monkeypatch.setattr(type(scorer.run), "read_json", lambda *_: changed)
    with pytest.raises(RunError, match=message):
        TrainingTable.of(scorer.run, scorer.inputs.fields)


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.none(), max_size=1),
    st.sampled_from(["NA", "1,5", "2.000", "Gold", "ja", "31.12.2021", "1e999", "\ud800", "9" * 400, 10**400, -0.0]),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*RAW, *INPUTS, "lead", "tire"]), CELLS), st.sampled_from([RAW, INPUTS, {}]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_record_is_scored_or_refused_alone_as_in_a_batch(scorer, changes, record):
    def found(score):
        try:
            return score()
        except InvalidInput as error:
            return [each["message"] for each in error.problems]

    alone = found(lambda: scorer.score(record | changes))
    many = found(lambda: scorer.score_many([record | changes]))
    if isinstance(alone, list):
        assert alone == many
    else:
        assert many.warnings.get(0, ()) == alone.warnings
        assert many.probabilities[0] == pytest.approx(alone.probability, abs=1e-12)


@given(st.text(max_size=12))
@settings(max_examples=50, deadline=None)
def test_converting_a_category_again_changes_nothing(text):
    column = ColumnRecipe("x", "category", "", parts=("value",), outputs=("x",), fold_case=True)
    once = apply(TableRecipe((column,)), pd.DataFrame({"x": pd.Series([text], dtype=object)}))
    twice = apply(TableRecipe((column,)), once)
    pd.testing.assert_frame_equal(once, twice)
