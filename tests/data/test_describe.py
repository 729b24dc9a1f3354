import json
import math
from pathlib import Path

import pytest
import yaml

from mlsys.data.config import EventsData
from mlsys.data.describe import describe_tables
from mlsys.data.sources import open_tables

REAL = Path(__file__).parents[3] / "shared" / "data" / "hubspot"

ACCOUNTS = """id,size,note,closed,mrr
1,small,,2020-03-01,nan
2," ",,infinity,-5
3,small,"a very long note that goes on and on until nobody reads it",2020-05-01,12.5
"""


def summaries(folder, accounts=ACCOUNTS):
    (folder / "accounts.csv").write_text(accounts)
    (folder / "visits.csv").write_text("account,day,n\n1,2020-02-01,3\n")
    data = EventsData.model_validate(
        {
            "kind": "events",
            "name": "shop",
            "dir": str(folder),
            "entities": {"tables": ["accounts"], "id": "id", "attributes": {"size": "size"}},
            "outcome": {"table": "accounts", "id": "id", "time": "closed", "value": "mrr"},
            "events": {
                "table": "visits",
                "id": "account",
                "time": "day",
                "measures": {"visits": {"web": "n"}},
                "activity": {"measure": "visits"},
            },
        }
    )
    summaries = describe_tables(data, open_tables(data))
    return {(summary.table, summary.column): summary for summary in summaries}


def test_every_column_is_described_in_order_with_its_meaning(tmp_path):
    found = summaries(tmp_path)
    assert {key: summary.meaning for key, summary in found.items()} == {
        ("accounts", "id"): "entities.id, outcome.id",
        ("accounts", "size"): "entities.attributes.size",
        ("accounts", "note"): "",
        ("accounts", "closed"): "outcome.time",
        ("accounts", "mrr"): "outcome.value",
        ("visits", "account"): "events.id",
        ("visits", "day"): "events.time",
        ("visits", "n"): "events.measures.visits.web",
    }


def test_blanks_and_nan_are_missing(tmp_path):
    found = summaries(tmp_path)
    size, mrr = found["accounts", "size"], found["accounts", "mrr"]
    assert (size.type, size.rows, size.distinct, size.minimum, size.examples) == ("string", 3, 1, "small", ("small",))
    assert size.missing == pytest.approx(1 / 3)
    assert (mrr.type, mrr.distinct, mrr.minimum, mrr.maximum) == ("float64", 2, "-5.0", "12.5")
    assert mrr.missing == pytest.approx(1 / 3)


def test_long_text_and_extreme_dates(tmp_path):
    found = summaries(tmp_path)
    (note,) = found["accounts", "note"].examples
    assert note == "a very long note that goes on and on un…"
    assert found["accounts", "closed"].maximum == "infinity"


def test_an_empty_table_has_no_fraction_of_missing_cells(tmp_path):
    summary = summaries(tmp_path, ACCOUNTS.splitlines()[0] + "\n")["accounts", "mrr"]
    assert math.isnan(summary.missing)
    assert (summary.rows, summary.distinct, summary.minimum, summary.examples) == (0, 0, None, ())
    assert json.loads(json.dumps(summary.to_dict(), allow_nan=False))["missing"] is None


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real tables are not at {REAL}")
def test_the_real_tables():
    settings = yaml.safe_load((Path(__file__).parents[2] / "conf" / "data" / "hubspot.yaml").read_text())
    data = EventsData.model_validate(settings | {"dir": str(REAL)})
    found = {(summary.table, summary.column): summary for summary in describe_tables(data, open_tables(data))}
    assert found["customers", "MRR"].minimum == "-555.0"
    assert found["noncustomers", "id"].rows == 5003
    assert found["noncustomers", "id"].distinct == 5000
    assert found["noncustomers", "ALEXA_RANK"].missing == 114 / 5003
    assert 0.64 < found["customers", "INDUSTRY"].missing < found["noncustomers", "INDUSTRY"].missing < 0.75
    assert found["usage_actions", "WHEN_TIMESTAMP"].meaning == "events.time"
