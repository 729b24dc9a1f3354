"""The service reads rows as the run's training table has them, in every format."""

import io
from itertools import product

import jsonschema
import numpy as np
import pandas as pd
import pytest

from mlsys.data.table import TableRecipe, apply, read_table
from mlsys.runs.golden import predict
from serve import media_types
from tests.serve.table_runs import INPUTS, RAW, ROWS, write_leads_run, write_table_run


@pytest.fixture(scope="module")
def leads(tmp_path_factory):
    """The run, whose table leads.csv lies next to it."""
    return write_leads_run(tmp_path_factory.mktemp("leads"))


@pytest.fixture(scope="module")
def inside(leads, inside_of):
    return inside_of(leads)


@pytest.fixture(scope="module")
def file(leads):
    return leads.path.parent / "leads.csv"


@pytest.fixture(scope="module")
def probabilities(leads, file):
    inputs = apply(TableRecipe.from_dict(leads.read_json("recipe.json")), read_table(file))
    return predict(leads.model, leads.calibration, inputs)[1]


@pytest.mark.parametrize("media", ["csv", "utf-16 csv", "parquet", "arrow", "json"])
def test_the_training_file_gets_the_probabilities_of_the_run(media, inside, file, probabilities):
    raw, sink = read_table(file), io.BytesIO()
    if media == "json":
        answer = inside.post(
            "/predict/batch", {"records": raw.astype(object).where(raw.notna(), None).to_dict("records")}
        )
        predictions = answer.json()["predictions"]
        found, warnings = [each["probability"] for each in predictions], [each["warnings"] for each in predictions]
    else:
        kind = {"parquet": media_types.PARQUET, "arrow": media_types.ARROW}.get(media, media_types.CSV)
        if media == "parquet":
            raw.to_parquet(sink)
        elif media == "arrow":
            raw.to_feather(sink, compression="uncompressed")
        else:
            sink.write(file.read_text().encode("utf-16") if media == "utf-16 csv" else file.read_bytes())
        headers = {"content-type": media_types.CONTENT_TYPES[kind].decode(), "accept": "text/csv"}
        answer = inside("POST", "/predict/batch", content=sink.getvalue(), headers=headers)
        scored = pd.read_csv(io.BytesIO(answer.content), keep_default_na=False)
        assert scored["lead"].tolist() == [f"L{number}" for number in range(ROWS)]
        assert scored["at"].tolist()[:2] == ["2022-01-15", "2022-01-16"]
        found, warnings = scored["probability"], [[text] if text else [] for text in scored["warnings"]]
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(found, probabilities, rtol=0, atol=1e-12)
    unknown = "size: 'unknown' is not a number with a decimal comma and is scored as missing, as in training."
    assert {row for row, each in enumerate(warnings) if each} == set(np.flatnonzero(raw["size"] == "unknown"))
    assert warnings[0] == [unknown]


def test_a_record_may_have_columns_or_inputs(inside):
    raw, inputs = inside.post("/predict?explain=true", RAW), inside.post("/predict?explain=true", INPUTS)
    assert raw.status_code == inputs.status_code == 200
    assert without_id(raw) == without_id(inputs)
    assert raw.json()["warnings"] == []


def without_id(answer):
    return {name: value for name, value in answer.json().items() if name != "request_id"}


@pytest.mark.parametrize(
    ("at", "expected"), [("2022-03-20", "2022-03-20"), ("20.3.2022", "2022-03-20"), ("soon", None)]
)
def test_as_ofs_of_inputs_may_have_the_format_of_the_table_or_be_iso_dates(at, expected, inside):
    table = pd.DataFrame([INPUTS | {"at": at, "size": "2.000", "staff": "4,5", "size _m_": 2}])
    content = table.to_csv(index=False).encode()
    answer = inside("POST", "/predict/batch", content=content, headers={"content-type": "text/csv"})
    assert answer.status_code == (200 if expected else 422)
    if expected:
        assert pd.read_csv(io.BytesIO(answer.content))["at"].tolist() == [expected]
    else:
        assert "as_of is 'soon'" in answer.json()["message"]


def test_columns_named_like_ids_as_ofs_and_answers(inside_of, tmp_path):
    names = ["as_of", "score", "probability", "decision", "warnings", "label", "group", "value", "row"]
    numbers = np.random.default_rng(1).normal(size=(ROWS, len(names)))
    frame = pd.DataFrame(numbers, columns=names).assign(id=range(100, 100 + ROWS), won=[1, 0] * (ROWS // 2))
    frame.to_csv(tmp_path / "leads.csv", index=False)
    run = write_table_run(tmp_path / "run", tmp_path / "leads.csv")
    content = (tmp_path / "leads.csv").read_bytes()
    answer = inside_of(run)("POST", "/predict/batch", content=content, headers={"content-type": "text/csv"})
    scored = pd.read_csv(io.BytesIO(answer.content))
    expected = predict(run.model, run.calibration, apply(TableRecipe.from_dict(run.read_json("recipe.json")), frame))[1]
    assert list(scored) == ["id", "probability", "decision", "warnings"]
    np.testing.assert_allclose(scored["probability"], expected, rtol=0, atol=1e-12)


def test_the_processes_of_the_service_read_them_too(start, leads, file, probabilities, tmp_path):
    """On the fast path, which leaves the first such record to another one, and in a batch worker."""
    with start(tmp_path, leads.path, "--log-url", "none") as service:
        of_inputs, *of_raw = [service.client.post("/predict", json=record) for record in (INPUTS, RAW, RAW)]
        batch = service.client.post("/predict/batch", content=file.read_bytes(), headers={"content-type": "text/csv"})
    assert without_id(of_inputs) == without_id(of_raw[0]) == without_id(of_raw[1])
    scored = pd.read_csv(io.BytesIO(batch.content))
    np.testing.assert_allclose(scored["probability"], probabilities, rtol=0, atol=1e-12)


def test_a_csv_that_is_not_a_table_is_refused_by_line(inside):
    answer = inside(
        "POST", "/predict/batch", content=b"tier;size\na;1\na;1;2;3\n", headers={"content-type": "text/csv"}
    )
    assert answer.status_code == 422
    assert "The CSV table, line 3: 4 fields, but the header has 2" in answer.json()["message"]


def test_wrong_cells_of_a_csv_are_listed(inside, file):
    lines = file.read_text().splitlines()
    lines[3] = lines[3].replace(lines[3].split(";")[4], "viel")
    answer = inside("POST", "/predict/batch", content="\n".join(lines).encode(), headers={"content-type": "text/csv"})
    [problem] = answer.json()["problems"]
    assert (problem["row"], problem["field"], problem["got"]) == (2, "staff", '"viel"')


def test_the_prediction_log_keeps_what_was_sent(leads, inside_of, file, tmp_path):
    from serve.predictions import read_predictions

    url = f"sqlite:///{tmp_path}/log.db"
    inside = inside_of(leads, log_url=url, log_features=True, log_durable=True)
    inside.post("/predict", RAW)
    inside("POST", "/predict/batch", content=file.read_bytes(), headers={"content-type": "text/csv"})
    sink = io.BytesIO()
    raw = read_table(file).head(1)
    raw.assign(joined=pd.to_datetime(raw["joined"], dayfirst=True)).to_parquet(sink)
    inside("POST", "/predict/batch", content=sink.getvalue(), headers={"content-type": "application/parquet"})
    logged = read_predictions(url, features=True)
    assert len(logged) == 1 + ROWS + 1
    assert logged["features"].iloc[-1]["joined"].startswith("2022-01-15")
    assert logged["features"].iloc[0] == RAW
    assert logged["features"].iloc[1]["size [m]"] in ("1", "2", "4")
    assert "won" not in logged["features"].iloc[1]
    assert logged["id"].iloc[-2] == f"L{ROWS - 1}"


CHANGES = [
    {}, {"size": 3}, {"size": None}, {"size": "unknown"}, {"staff": None}, {"staff": True}, {"paid": True},
    {"paid": 1}, {"promo": "X"}, {"promo": None}, {"promo_filled": 1.0}, {"tier": None}, {"tier": 7}, {"tier": []},
    {"joined_month": 3}, {"won": "yes"}, {"other": 1}, {"joined": None}, {"size _m_": 2},
]  # fmt: skip


@pytest.mark.parametrize("record", [RAW, INPUTS], ids=["raw", "inputs"])
def test_the_document_says_what_a_record_may_have(record, inside):
    schema = inside.get("/openapi.json").json()["components"]["schemas"]["Record"]
    jsonschema.Draft202012Validator.check_schema(schema)
    validator, answers = jsonschema.Draft202012Validator(schema), set()
    for changes, removed in product(CHANGES, ["", "at", "staff", "joined", "joined_month"]):
        changed = {name: value for name, value in (record | changes).items() if name != removed}
        answer = inside.post("/predict", changed)
        assert validator.is_valid(changed) == (answer.status_code == 200), (changed, answer.text)
        answers.add(answer.status_code)
    assert answers == {200, 422}


def test_the_pages_show_the_columns(inside):
    assert "size [m] as in the training table: a number with a decimal comma" in inside.get("/docs").text
    assert inside.get("/").status_code == 200


def test_the_documented_example_is_a_row_of_the_table(inside):
    record = inside.get("/openapi.json").json()["components"]["schemas"]["Record"]
    [example] = record["examples"]
    assert list(example) == ["at", "tier", "size", "staff", "paid", "promo", "joined", "size [m]"]
    assert (example["size"], example["paid"], example["tier"]) == (1.5, "nein", "gold")
    days = [pd.to_datetime(example[name], format="%d.%m.%Y") for name in ("at", "joined")]
    assert (days[0] - days[1]).days == 150
    answer = inside.post("/predict", example)
    assert answer.status_code == 200
    assert not [text for text in answer.json()["warnings"] if "missing" in text]
    assert example["joined"] in inside.get("/docs").text
