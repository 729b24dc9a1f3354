"""Rows with the columns of the training table are scored as in training."""

import io
import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsys.data.table import TableRecipe, apply, read_table
from mlsys.errors import RunError
from mlsys.runs.golden import predict
from mlsys.runs.input_column import InputColumn, input_columns
from serve.scoring import InvalidInput, Scorer
from serve.scoring.raw_columns import RawColumns
from serve.scoring.raw_tables import read_raw_csv
from tests.serve.table_runs import write_table_run

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
    tables_of_inputs = [pa.Table.from_pandas(inputs), read_raw_csv(inputs.to_csv(index=False).encode())]
    results = [
        scorer.score_table(read_raw_csv(data)),
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
