from __future__ import annotations

import json
import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.data.table import ColumnRecipe, TableRecipe, apply, infer_recipe
from mlsys.errors import DataError


@pytest.fixture
def raw():
    days = pd.date_range("2020-01-01", periods=40)
    return pd.DataFrame(
        {
            "key": [f"k{i}" for i in range(40)],
            "at": days.strftime("%d.%m.%Y"),
            "size": ["1.234,5", "(7)", "-", " 8 "] * 10,
            "weight": ["10 kg", "12,5 kg"] * 20,
            "paid": ["ja", "nein", "", "Ja"] * 10,
            "flag": ["x", None] * 20,
            "plan": ["Free ", "free", "pro", "N/A"] * 10,
            "joined": [f"{1 + i % 28}.12.2019" for i in range(40)],
            "note": [f"call back number {i} now" for i in range(40)],
            "won": [1, 0] * 20,
        }
    )


@pytest.fixture
def recipe(raw):
    return infer_recipe(raw, target="won", time="at")


def test_json_round_trip(recipe):
    text = json.dumps(recipe.to_dict(), allow_nan=False)
    assert TableRecipe.from_dict(json.loads(text)) == recipe
    assert json.loads(text)["columns"][2] == {
        "name": "size",
        "kind": "number",
        "reason": "numbers from -7 to 1,234.5; decimal comma; 10 of 40 missing",
        "parts": ["value"],
        "outputs": ["size"],
        "decimal": ",",
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"version": 9}, "has version 9"),
        ({"columns": [{"name": "a"}]}, "is corrupt"),
        ({"columns": [{"name": "a", "kind": "colour", "reason": ""}]}, "is corrupt.*kind is 'colour'"),
        ({"columns": [{"name": "a", "kind": "number", "reason": "", "color": 1}]}, "is corrupt"),
    ],
)
def test_rejects_invalid_data(recipe, change, expected):
    with pytest.raises(DataError, match=expected):
        TableRecipe.from_dict(recipe.to_dict() | change)


def test_rows_are_converted_independently(raw, recipe):
    whole = apply(recipe, raw)
    assert whole.shape == (40, len(recipe.features))
    for row in (0, 1, 2, 3, 39):
        pd.testing.assert_frame_equal(apply(recipe, raw.iloc[[row]]), whole.iloc[[row]])
    shuffled = raw.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(apply(recipe, shuffled), whole.loc[shuffled.index])


def test_new_rows_are_parsed_as_the_recipe_requires(recipe, caplog):
    rows = pd.DataFrame(
        {
            "at": ["2.1.2021", "3.1.2021"],
            "size": ["2.000", "many"],
            "weight": ["11 KG", 12.5],
            "paid": ["YES", "maybe"],
            "flag": ["?", "anything"],
            "plan": ["PRO", "gold"],
            "joined": ["1.1.2021", "2021-01-01"],
            "note": ["hello", None],
        },
        index=[5, 6],
    )
    features = apply(recipe, rows)
    assert features.index.tolist() == [5, 6]
    assert features["size"].iloc[0] == 2000
    assert features["weight"].tolist() == [11, 12.5]
    assert features["flag_filled"].tolist() == [0, 1]
    assert features["plan"].tolist() == ["pro", "gold"]
    assert features["joined_age_days"].iloc[0] == 1
    assert features["note_words"].iloc[0] == 1
    assert features.iloc[1][["size", "paid", "joined_age_days", "note_words"]].isna().all()
    assert (
        "missing: size (1 of 2, such as 'many'), paid (1 of 2, such as 'maybe'), joined (1 of 2, such as" in caplog.text
    )


def test_a_table_without_rows(raw, recipe):
    empty = apply(recipe, raw.iloc[:0])
    assert empty.shape == (0, len(recipe.features))
    assert empty.dtypes.tolist() == apply(recipe, raw).dtypes.tolist()


def test_missing_columns_are_an_error_and_unknown_ones_a_warning(raw, recipe, caplog):
    with pytest.raises(DataError) as caught:
        apply(recipe, raw.rename(columns={"size": "sice"}).drop(columns=["key", "won", "at"]))
    message = str(caught.value)
    assert "  - at\n  - size (closest: sice)\n  + sice\n" in message
    with pytest.raises(DataError, match="duplicate columns: size"):
        apply(recipe, pd.concat([raw, raw[["size"]]], axis="columns"))
    apply(recipe, raw.drop(columns=["key", "won"]).assign(new=1))
    assert "dropping columns that are not in the recipe: new" in caplog.text


def test_typed_numbers_and_dates(raw):
    recipe = infer_recipe(raw[["size", "joined", "paid", "won"]], target="won")
    typed = pd.DataFrame({"size": [2000.0], "joined": pd.to_datetime(["2020-02-03"]), "paid": [True]})
    assert apply(recipe, typed).iloc[0].to_dict() == {
        "size": 2000.0,
        "joined_day": 18295.0,
        "joined_weekday": 0.0,
        "paid": 1.0,
    }


ANY_TEXT = st.lists(
    st.one_of(st.none(), st.text(max_size=12), st.from_regex(r"[-$(]?[0-9., /:%-]{1,12}", fullmatch=True))
)


@settings(deadline=None, max_examples=100, derandomize=True, database=None)
@given(texts=ANY_TEXT, more=ANY_TEXT)
def test_arbitrary_text_is_parsed_deterministically_without_errors(texts, more):
    logging.disable(logging.WARNING)
    frame = pd.DataFrame({"x": pd.Series(texts, dtype=object)}).assign(z=np.arange(len(texts)) % 3, y=0)
    frame = pd.concat(
        [frame, pd.DataFrame({"x": ["a"], "z": [1], "y": [1]}), pd.DataFrame({"x": ["b"], "z": [2], "y": [0]})]
    )
    recipe = infer_recipe(frame.reset_index(drop=True), target="y")
    assert TableRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    once = apply(recipe, frame)
    pd.testing.assert_frame_equal(once, apply(recipe, frame))
    other = pd.DataFrame({"x": pd.Series(more, dtype=object), "z": 1})
    assert apply(recipe, other).dtypes.astype(str).isin(["float64", "str"]).all()
    logging.disable(logging.NOTSET)


RECIPES = st.sampled_from(
    [
        ColumnRecipe("x", "number", "", parts=("value",), outputs=("x",)),
        ColumnRecipe("x", "number", "", parts=("value",), outputs=("x",), decimal=",", unit="kg"),
        ColumnRecipe("x", "boolean", "", parts=("value",), outputs=("x",), true=("yes",), false=("no",)),
        ColumnRecipe("x", "boolean", "", parts=("filled",), outputs=("x",)),
        ColumnRecipe("x", "date", "", parts=("day", "month"), outputs=("x", "m"), date_format="ISO8601"),
        ColumnRecipe("x", "date", "", parts=("day", "hour"), outputs=("x", "h"), date_format="%d/%m/%y %H:%M"),
        ColumnRecipe("x", "category", "", parts=("value",), outputs=("x",), fold_case=True),
        ColumnRecipe("x", "text", "", parts=("length", "words"), outputs=("x", "w")),
    ]
)


@settings(deadline=None, max_examples=100, derandomize=True, database=None)
@given(column=RECIPES, texts=ANY_TEXT)
def test_any_recipe_accepts_any_text(column, texts):
    logging.disable(logging.WARNING)
    recipe = TableRecipe((column,))
    frame = pd.DataFrame({"x": pd.Series(texts, dtype=object)})
    features = apply(recipe, frame)
    assert len(features) == len(texts)
    half = len(texts) // 2
    for part in (slice(None, half), slice(half, None)):
        pd.testing.assert_frame_equal(apply(recipe, frame.iloc[part]), features.iloc[part])
    logging.disable(logging.NOTSET)
