"""POST /predict/batch: every input and output format gives the same numbers; all problems are reported at once."""

import io
import json

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet
import pytest

from mlsys.runs.golden import golden_inputs

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
STREAM, FILE = "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"


@pytest.fixture(scope="module")
def frame(run):
    """The golden rows' inputs with ids and as-ofs; the first row has a category not seen in training."""
    inputs = golden_inputs(run)
    inputs.loc[0, "industry"] = "Bäckerei"
    return inputs.assign(account=[f"a-{row}" for row in range(len(inputs))], as_of="2020-02-24")


@pytest.fixture(scope="module")
def single(inside, frame):
    """The response of POST /predict for each row."""
    records = json.loads(frame[["users", "actions", "industry"]].to_json(orient="records", double_precision=15))
    records = [dict(r, actions=a) for r, a in zip(records, frame["actions"].tolist(), strict=True)]
    return records, [inside.post("/predict", record).json() for record in records]


def written(frame, media):
    sink = io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if media == CSV:
        pa.csv.write_csv(table, sink)
    elif media == PARQUET:
        pa.parquet.write_table(table, sink)
    else:
        with (pa.ipc.new_stream if media == STREAM else pa.ipc.new_file)(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def read(answer):
    media = answer.headers["content-type"].split(";")[0]
    if media == "application/json":
        return pd.DataFrame(answer.json()["predictions"])
    if media == CSV:
        return pd.read_csv(io.BytesIO(answer.content))
    if media == PARQUET:
        return pd.read_parquet(io.BytesIO(answer.content))
    return pa.ipc.open_stream(answer.content).read_all().to_pandas()


def send(inside, body, media, **headers):
    return inside("POST", "/predict/batch", content=body, headers={"content-type": media, **headers})


def test_json_batches_match_single_records(inside, single):
    records, singles = single
    answer = inside.post("/predict/batch", {"records": records})
    assert answer.status_code == 200
    found = answer.json()
    assert list(found) == ["predictions", "warnings", "threshold", "model", "request_id"]
    assert found["model"] == singles[0]["model"]
    for batch, one in zip(found["predictions"], singles, strict=True):
        assert batch["probability"] == pytest.approx(one["probability"], abs=1e-12)
        assert (batch["decision"], batch["warnings"]) == (one["decision"], one["warnings"])
    assert found["predictions"][0]["warnings"]


@pytest.mark.parametrize("media", [CSV, PARQUET, STREAM, FILE])
def test_tables_return_the_same_format_ids_and_numbers(inside, frame, single, media):
    answer = send(inside, written(frame, media), media)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].split(";")[0] == (STREAM if media == FILE else media)
    assert answer.headers["x-model-version"] == single[1][0]["model"]["version"]
    found = read(answer)
    assert list(found) == ["account", "as_of", "probability", "decision", "warnings"]
    assert found["account"].tolist() == frame["account"].tolist()
    assert found["probability"].tolist() == pytest.approx([one["probability"] for one in single[1]], abs=1e-12)
    assert "Bäckerei" in str(found["warnings"][0])


@pytest.mark.parametrize("output_type", ["application/json", CSV, PARQUET, STREAM])
@pytest.mark.parametrize("media", [CSV, PARQUET])
def test_accept_chooses_the_response_format(inside, frame, single, media, output_type):
    answer = send(inside, written(frame, media), media, accept=f"{output_type}, */*;q=0.1")
    assert answer.headers["content-type"].split(";")[0] == output_type
    assert read(answer)["probability"].tolist() == pytest.approx([one["probability"] for one in single[1]], abs=1e-12)


def test_json_records_may_have_ids(inside, record):
    answer = inside.post("/predict/batch", {"records": [record], "ids": [17], "as_of": "2020-02-24"})
    prediction = answer.json()["predictions"][0]
    assert (prediction["id"], prediction["as_of"]) == (17, "2020-02-24")


def test_all_invalid_rows_are_reported(inside, record):
    answer = inside.post("/predict/batch", {"records": [record, record | {"users": "3"}, {"actions": 1}]})
    assert answer.status_code == 422
    rows = {(problem["row"], problem["field"]) for problem in answer.json()["problems"]}
    assert rows == {(1, "users"), (2, "users"), (2, "industry")}


def test_invalid_cells_and_columns_are_reported(inside):
    answer = send(inside, b"users,actions,industry\n1,2,Retail\nmany,3,Retail\n4,few,Retail\n", CSV)
    assert answer.status_code == 422
    assert {(each["row"], each["field"]) for each in answer.json()["problems"]} == {(1, "users"), (2, "actions")}
    answer = send(inside, b"user,actions,industry\n1,2,Retail\n", CSV)
    assert {each["field"] for each in answer.json()["problems"]} == {"user", "users"}


@pytest.mark.parametrize(
    ("body", "media", "status", "message"),
    [
        (b'{"records": []}', "application/json", 422, "no rows"),
        (b"[]", "application/json", 422, "must be an object"),
        (b'{"records": {}}', "application/json", 422, "must be an object"),
        (b'{"records": [{}], "more": 1}', "application/json", 422, "'more'"),
        (b'{"records": [{}], "ids": [1, 2]}', "application/json", 422, "ids must be"),
        (b'{"records": [{}], "as_of": "soon"}', "application/json", 422, "as_of is 'soon'"),
        (b'{"records": [{"users": 1, "users": 2}]}', "application/json", 422, "Duplicate field users"),
        (b'{"records": [1, null]}', "application/json", 422, "expected an object"),
        (b"{", "application/json", 400, "not valid JSON"),
        (b"", "application/json", 400, "empty"),
        (b"users,actions,industry\n", CSV, 422, "no rows"),
        (b"", CSV, 422, "not a CSV table"),
        (b"users,\xac\xff,industry\n1,2,Retail\n", CSV, 422, "not a CSV table"),
        (b"\xff\xfe\x00", CSV, 422, ""),
        (b"PAR1nonsense", PARQUET, 400, "not a valid Parquet file"),
        (b"nonsense", STREAM, 400, "not a valid Arrow stream"),
        (b"ARROW1nonsense", FILE, 400, "not a valid Arrow stream"),
        (b"<xml/>", "application/xml", 415, "Unsupported media type application/xml"),
    ],
)
def test_invalid_bodies_have_clear_messages(inside, body, media, status, message):
    answer = send(inside, body, media)
    assert answer.status_code == status, answer.text
    assert message in answer.json()["message"]


def test_invalid_strings_and_ids_are_rejected(inside, frame):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    texts = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    place = table.column_names.index("industry")
    broken = table.slice(0, 1).set_column(place, "industry", texts)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, broken.schema) as writer:
        writer.write_table(broken)
    answer = send(inside, sink.getvalue(), STREAM)
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed_table")
    for ids in ([{"a": 1}], [b"x"], [1.5], [True]):
        answer = send(inside, written(frame.head(1).assign(account=ids), PARQUET), PARQUET)
        assert (answer.status_code, answer.json()["error"]) == (422, "invalid_input")
    found = read(send(inside, written(frame.head(2).assign(account=[7.0, None]), PARQUET), PARQUET))
    assert found["account"].tolist()[0] == 7


def test_a_decompression_bomb_is_rejected(inside, frame):
    bomb = pd.concat([frame.head(1).assign(industry="x" * 100_000)] * 1_000)
    sink = io.BytesIO()
    table = pa.Table.from_pandas(bomb, preserve_index=False)
    pa.parquet.write_table(table, sink, compression="zstd", use_dictionary=False)
    assert len(sink.getvalue()) < 1_000_000
    answer = send(inside, sink.getvalue(), PARQUET)
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


def test_an_unavailable_response_format_is_rejected(inside, record):
    answer = inside.post("/predict/batch", {"records": [record]}, headers={"accept": "image/png"})
    assert (answer.status_code, answer.json()["error"]) == (406, "not_acceptable")


def test_too_many_rows_are_rejected(inside_of, run, frame):
    inside = inside_of(run, max_rows=10)
    for body, media in [
        (json.dumps({"records": [{}] * 11}).encode(), "application/json"),
        *((written(frame, media), media) for media in (CSV, PARQUET, STREAM, FILE)),
    ]:
        answer = send(inside, body, media)
        assert (answer.status_code, answer.json()["error"]) == (413, "too_many_rows")


def test_batches_are_counted(inside_of, run, record):
    inside = inside_of(run)
    inside.post("/predict/batch", {"records": [record, record | {"industry": "Bakery"}]})
    assert inside.metric("mlsys_serve_batch_rows_sum") == 2
    assert inside.metric("mlsys_serve_probability_count") == 2
    assert inside.metric("mlsys_serve_warnings_total") == 1
    one, two = (inside.post("/predict", record | change).json() for change in ({}, {"industry": "Bakery"}))
    total = one["probability"] + two["probability"]
    assert inside.metric("mlsys_serve_probability_sum") == pytest.approx(2 * total)


def test_large_batches_run_outside_the_event_loop(inside, record):
    records = [record] * 2_000
    answer = inside.post("/predict/batch", {"records": records})
    assert len(answer.json()["predictions"]) == 2_000


def test_batches_beyond_the_queue_are_rejected(inside_of, run, record, monkeypatch):
    inside = inside_of(run)
    monkeypatch.setattr(inside.service.batch_queue, "depth", 8)
    answer = inside.post("/predict/batch", {"records": [record] * 2_000})
    assert (answer.status_code, answer.json()["error"]) == (503, "batch_queue")
    assert answer.headers["retry-after"] == "2"
