import json
import logging
import sqlite3
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
import yaml
from pandera.errors import SchemaErrors

from mlsys.data.config import EventsData
from mlsys.data.contracts import check_tables
from mlsys.data.rules import make_rule_book
from mlsys.data.schemas import make_contracts
from mlsys.data.sources import canonical_entities, canonical_events, open_tables
from mlsys.errors import ContractError, DataError

REAL = Path(__file__).parents[3] / "shared" / "data" / "hubspot"
TODAY = date(2021, 6, 1)

CUSTOMERS = """id,joined,closed,mrr,size
1,2020-01-05,2020-03-01,10.5,small
2,2020-01-06,2020-04-01,20,large
"""
FREE = """id,joined,size
3,2020-01-07,small
4,2020-01-08,
"""
USAGE = """account,week,acts_crm,acts_mail,people_crm,people_mail
1,2020-02-03,5,2,1,1
2,2020-02-03,7,0,2,0
3,2020-02-10,1,1,1,1
4,2020-02-10,3,3,1,2
"""


def shop(folder, *, customers=CUSTOMERS, free=FREE, usage=USAGE, rules=None, **changes):
    for name, text in {"customers": customers, "free": free, "usage": usage}.items():
        (folder / f"{name}.csv").write_text(text)
    return config(folder, rules=rules or {}, **changes)


def config(folder, **changes):
    settings = {
        "kind": "events",
        "name": "shop",
        "dir": str(folder),
        "entities": {"tables": ["customers", "free"], "id": "id", "created": "joined", "attributes": {"size": "size"}},
        "outcome": {"table": "customers", "id": "id", "time": "closed", "value": "mrr"},
        "events": {
            "table": "usage",
            "id": "account",
            "time": "week",
            "measures": {
                "actions": {"crm": "acts_crm", "mail": "acts_mail"},
                "users": {"crm": "people_crm", "mail": "people_mail"},
            },
            "activity": {"measure": "users"},
        },
    }
    return EventsData.model_validate(settings | changes)


def check(data):
    return check_tables(data, open_tables(data), today=TODAY)


def counts(checked):
    return {(finding.table, finding.rule): (finding.action, finding.count) for finding in checked.findings}


def message(checked, rule):
    return next(finding.message for finding in checked.findings if finding.rule == rule)


def ids(table, column="id"):
    return sorted(table[column].to_pyarrow().to_pylist(), key=str)


def canonical(data, checked):
    entities = canonical_entities(data, checked.tables).to_pyarrow().to_pandas().set_index("id").sort_index()
    events = canonical_events(data, checked.tables).to_pyarrow().to_pandas()
    return entities, events


def test_clean_tables_pass_untouched(tmp_path, caplog, capsys):
    data = shop(tmp_path)
    raw = open_tables(data)
    with caplog.at_level(logging.INFO):
        checked = check_tables(data, raw, today=TODAY)
    assert checked.findings == ()
    assert checked.tables.events is raw.events
    assert checked.tables.entities["free"] is raw.entities["free"]
    assert not caplog.records
    assert capsys.readouterr() == ("", "")


def test_contracts_cover_tables_entity_ids_and_event_keys(tmp_path):
    data = shop(tmp_path)
    raw = open_tables(data)
    contracts = make_contracts(make_rule_book(data, raw, TODAY), raw)
    rules = [(contract.name, [check.name for check in contract.schema.checks]) for contract in contracts]
    dated = ["wrong_types", "missing_ids", "impossible_dates"]
    assert rules == [
        ("customers", [*dated, "wrong_types", "impossible_dates", "non_positive_value"]),  # as entities and as outcomes
        ("free", dated),
        ("usage", [*dated, "negative_counts", "users_over_actions", "orphan_events"]),
        ("customers, free", ["duplicate_ids"]),
        ("usage", ["duplicate_ids"]),
    ]


BROKEN = {
    "wrong_types": ({"usage": USAGE + "3,2020-02-17,many,1,1,1\n"}, "acts_crm='many'"),
    "missing_ids": ({"usage": USAGE + ",2020-02-17,1,1,1,1\n"}, "(no id)"),
    "negative_counts": ({"usage": USAGE + "3,2020-02-17,-8,1,1,1\n"}, "(id 3: acts_crm=-8)"),
    "users_over_actions": ({"usage": USAGE + "3,2020-02-17,2,1,2,4\n"}, "(id 3: people_mail=4, acts_mail=1)"),
    "orphan_events": ({"usage": USAGE + "77,2020-02-17,1,1,1,1\n"}, "(id 77)"),
    "impossible_dates": ({"usage": USAGE + "3,2199-01-01,1,1,1,1\n"}, "(id 3: week=2199-01-01)"),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_event_rules_with_each_action(tmp_path, rule):
    tables, example = BROKEN[rule]
    raw = open_tables(shop(tmp_path, **tables))

    def check_with(action):
        rules = dict.fromkeys(BROKEN, "warn") | {rule: action}  # a row can violate several rules
        return check_tables(config(tmp_path, rules=rules), raw, today=TODAY)

    warned = check_with("warn")
    assert counts(warned)["usage", rule] == ("warn", 1)
    assert example in message(warned, rule)
    assert message(warned, rule).startswith("usage: 1 row ")
    assert warned.tables.events.count().to_pyarrow().as_py() == 5

    dropped = check_with("drop")
    assert counts(dropped)["usage", rule] == ("drop", 1)
    assert ids(dropped.tables.events, "account") == [1, 2, 3, 4]
    assert message(dropped, rule).endswith(": dropped.")

    with pytest.raises(ContractError) as stopped:
        check_with("error")
    assert f"data.rules.{rule} (usage)" in str(stopped.value)
    assert example in str(stopped.value)
    assert f"set data.rules.{rule} to drop" in str(stopped.value)


def test_findings_are_ready_for_json(tmp_path):
    checked = check(shop(tmp_path, usage=BROKEN["orphan_events"][0]["usage"]))
    (finding,) = checked.findings
    assert json.loads(json.dumps(finding.to_dict())) == {
        "table": "usage",
        "rule": "orphan_events",
        "action": "drop",
        "count": 1,
        "message": "usage: 1 row whose id is in no entity table (id 77): dropped.",
    }


def test_all_errors_are_reported_together(tmp_path):
    usage = USAGE.replace("people_mail", "people_mails") + "3,2020-02-17,-8,1,1,1\n77,2020-02-17,x,1,1,1\n"
    rules = {"negative_counts": "error", "orphan_events": "error", "wrong_types": "error"}
    with pytest.raises(ContractError) as stopped:
        check(shop(tmp_path, usage=usage, free="key,joined,size\n3,2020-01-07,small\n", rules=rules))
    wheres = [problem.where for problem in stopped.value.problems]
    assert wheres == [
        "data.entities.id",
        "data.events.measures.users.mail",
        "data.rules.wrong_types (usage)",
        "data.rules.negative_counts (usage)",
    ]  # without entity ids, orphans cannot be detected
    assert stopped.value.problems[1].closest == "people_mails"
    assert "a column of free: key, joined, size" in str(stopped.value)


def test_an_attribute_may_be_in_only_one_entity_table(tmp_path):
    assert check(shop(tmp_path, free="id\n3\n4\n")).findings == ()
    assert check(shop(tmp_path, customers=CUSTOMERS.replace("size", "volume"))).findings == ()
    with pytest.raises(ContractError) as stopped:
        check(shop(tmp_path, free="id\n3\n4\n", customers=CUSTOMERS.replace("size", "volume")))
    assert [problem.where for problem in stopped.value.problems] == ["data.entities.attributes.size"]


@pytest.mark.parametrize(("action", "outcomes"), [("warn", [1, 2, 5]), ("drop", [1, 2])])
def test_non_positive_values(tmp_path, action, outcomes):
    data = shop(tmp_path, customers=CUSTOMERS + "5,2020-01-06,2020-04-01,0,\n", rules={"non_positive_value": action})
    checked = check(data)
    assert counts(checked) == {("customers", "non_positive_value"): (action, 1)}
    assert ids(checked.tables.outcome) == outcomes
    assert ids(checked.tables.entities["customers"]) == [1, 2, 5]
    consequences = {
        "warn": "kept; their revenue counts as missing",
        "drop": "dropped; such an account counts as never converted",
    }
    assert consequences[action] in message(checked, "non_positive_value")
    entities, _ = canonical(data, checked)
    assert pd.isna(entities.value[5])
    assert pd.isna(entities.outcome_day[5]) == (action == "drop")


@pytest.mark.parametrize("action", ["warn", "drop"])
def test_the_most_complete_row_of_a_duplicate_id_is_kept(tmp_path, action):
    data = shop(tmp_path, free=FREE + "4,2020-01-08,tiny\n3,2020-01-07,\n", rules={"duplicate_ids": action})
    checked = check(data)
    assert counts(checked) == {("customers, free", "duplicate_ids"): (action, 2)}
    consequence = {"warn": "only the most complete", "drop": "dropped; only the most complete"}[action]
    assert f"2 rows with a duplicate id (id 3; id 4): {consequence} row of each id is used" in message(
        checked, "duplicate_ids"
    )
    entities, _ = canonical(data, checked)
    assert entities["size"].to_dict() == {1: "small", 2: "large", 3: "small", 4: "tiny"}


def test_duplicate_ids_across_tables_can_stop(tmp_path):
    data = shop(tmp_path, free=FREE + "1,2020-01-07,\n", rules={"duplicate_ids": "error"})
    with pytest.raises(ContractError, match=r"1 row with a duplicate id \(id 1\)"):
        check(data)


@pytest.mark.parametrize("action", ["warn", "drop"])
def test_duplicates_and_missing_ids_in_a_single_entity_table(tmp_path, action):
    customers = CUSTOMERS.replace("small", "") + "1,2020-01-05,2020-03-01,10.5,tiny\n,2020-01-05,,,tiny\n"
    entities = {"tables": ["customers"], "id": "id", "attributes": {"size": "size"}}
    usage = "\n".join(USAGE.splitlines()[:3])
    data = shop(tmp_path, customers=customers, usage=usage, entities=entities, rules={"duplicate_ids": action})
    checked = check(data)
    assert [(finding.rule, finding.count) for finding in checked.findings] == [("missing_ids", 1), ("duplicate_ids", 1)]
    assert canonical(data, checked)[0]["size"].to_dict() == {1: "tiny", 2: "large"}
    with pytest.raises(DataError, match=r"No rows left in table customers \(used as entities\) after"):
        check(shop(tmp_path, customers=header(CUSTOMERS) + ",,,,\n", usage=usage, entities=entities))


def test_duplicate_events_are_always_a_warning(tmp_path):
    data = shop(tmp_path, usage=USAGE + "4,2020-02-10,1,1,1,1\n", rules={"duplicate_ids": "error"})
    checked = check(data)
    assert counts(checked) == {("usage", "duplicate_ids"): ("warn", 1)}
    assert "(id 4: week=2020-02-10): kept and summed" in message(checked, "duplicate_ids")


def test_times_may_not_be_after_today_or_the_configured_end(tmp_path):
    usage = USAGE + ",,1,1,1,1\n4,,1,1,1,1\n4,1970-01-01,1,1,1,1\n4,2021-06-01,1,1,1,1\n4,2021-06-02,1,1,1,1\n"
    checked = check(shop(tmp_path, usage=usage, rules={"missing_ids": "warn"}))
    assert counts(checked)["usage", "impossible_dates"] == ("drop", 4)
    assert "before 1990-01-01 or after 2021-06-01 (today) (such as id 4: week=1970-01-01; " in message(
        checked, "impossible_dates"
    )
    assert "week=null" in message(checked, "impossible_dates")
    checked = check(shop(tmp_path, usage=usage, end="2020-03-15"))
    assert ids(checked.tables.events, "account") == [1, 2, 3, 4]
    assert ids(checked.tables.outcome) == [1]
    assert "after 2020-03-15 (data.end)" in message(checked, "impossible_dates")


def test_impossible_dates_of_accounts_and_outcomes(tmp_path):
    customers = CUSTOMERS + "5,1900-01-01,2020-04-01,1,\n6,2020-01-06,2199-04-01,1,\n7,,,1,\n"
    data = shop(tmp_path, customers=customers)
    checked = check(data)
    assert [(finding.rule, finding.count) for finding in checked.findings] == [("impossible_dates", 1)] * 2
    assert ids(checked.tables.entities["customers"]) == [1, 2, 6, 7]
    assert ids(checked.tables.outcome) == [1, 2, 7]
    entities, _ = canonical(data, checked)
    assert pd.isna(entities.outcome_day[6])


def test_a_time_outside_the_range_of_python_is_shown(tmp_path):
    checked = check(shop(tmp_path, usage=USAGE.replace("4,2020-02-10", "4,infinity")))
    assert "(id 4: week=infinity)" in message(checked, "impossible_dates")
    assert ids(checked.tables.events, "account") == [1, 2, 3]


@pytest.mark.parametrize("action", ["warn", "drop"])
def test_text_with_a_few_invalid_cells_is_parsed(tmp_path, action):
    usage = """account,week,acts_crm,acts_mail,people_crm,people_mail
1,2020-02-03,5,2,1,1
 2 ,2020-02-03T23:00:00-05:00, 7.5,-,2,0
3,soon,1,1,1,1
"""
    customers = CUSTOMERS + "5,2020-01-06,last year,1e2,\n6,2020-01-06,2020-05-01,lots,\n"
    data = shop(tmp_path, usage=usage, customers=customers, rules={"wrong_types": action})
    checked = check(data)
    entities, events = canonical(data, checked)
    assert entities.value.dropna().to_dict() == {1: 10.5, 2: 20.0}
    if action == "warn":
        assert events.id.tolist() == [1, 2]  # an event without a time is never visible
        assert events.known_day.tolist() == [18295, 18297]  # the second is past 2020-02-04, in UTC
        assert events.actions_crm.tolist() == [5, 7.5]
        assert events.actions_mail.isna().tolist() == [False, True]
        assert entities.outcome_day.notna().to_dict() == {1: True, 2: True, 3: False, 4: False, 5: False, 6: True}
    else:
        assert events.id.tolist() == [1]
        assert entities.outcome_day.dropna().index.tolist() == [1, 2]
        assert "such an account counts as never converted" in message(checked, "wrong_types")


def test_iso_dates_as_text_are_valid(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    shop(folder)
    for name in ("customers", "free", "usage"):
        pd.read_csv(folder / f"{name}.csv", dtype="string").to_parquet(folder / f"{name}.parquet")
        (folder / f"{name}.csv").unlink()
    data = config(folder)
    checked = check(data)
    assert checked.findings == ()
    entities, events = canonical(data, checked)
    assert entities.index.tolist() == ["1", "2", "3", "4"]
    assert entities.value.dropna().tolist() == [10.5, 20.0]
    assert events.known_day.tolist() == [18295, 18295, 18302, 18302]


def test_ids_of_two_types_are_compared_as_text(tmp_path):
    usage = USAGE + '"B7",2020-02-17,1,1,1,1\n"  ",2020-02-17,1,1,1,1\n'
    data = shop(tmp_path, usage=usage, free=FREE + '" B7",2020-01-09,tiny\n')
    checked = check(data)
    assert counts(checked) == {("usage", "missing_ids"): ("drop", 1)}
    entities, events = canonical(data, checked)
    assert entities.index.tolist() == ["1", "2", "3", "4", "B7"]
    assert sorted(set(events.id)) == ["1", "2", "3", "4", "B7"]


def test_whole_floats_are_valid_ids(tmp_path):
    data = shop(tmp_path, free=FREE.replace("3,", "3.0,").replace("4,", "4.0,"))
    checked = check(data)
    assert counts(checked) == {}
    assert canonical(data, checked)[0].index.tolist() == [1, 2, 3, 4]


def test_ids_that_are_not_all_whole_numbers_stay_as_they_are_written(tmp_path):
    free = FREE.replace("3,", "3.0,") + "5.5,2020-01-09,tiny\n1e30,2020-01-09,\n"
    data = shop(tmp_path, free=free, rules={"orphan_events": "drop"})
    checked = check(data)
    assert set(canonical(data, checked)[0].index) == {"1", "2", "3.0", "4", "5.5", "1e30"}
    assert "id 3" in message(checked, "orphan_events")


def test_a_column_of_the_wrong_type_is_invalid_in_every_row(tmp_path):
    with pytest.raises(ContractError) as stopped:
        check(shop(tmp_path, usage=USAGE.replace("2020-02-03", "17").replace("2020-02-10", "18")))
    assert "4 rows with a value of the wrong type (such as id 1: week=17; " in str(stopped.value)
    assert "times: dates, or text such as 2020-02-24" in str(stopped.value)


def test_nan_is_missing_and_infinity_is_invalid(tmp_path):
    data = shop(
        tmp_path,
        customers=CUSTOMERS.replace("10.5", "nan"),
        usage=USAGE.replace("3,2020-02-10,1", "3,2020-02-10,inf").replace("7,0", "nan,0"),
        rules={"wrong_types": "warn"},
    )
    checked = check(data)
    assert counts(checked) == {("usage", "wrong_types"): ("warn", 1)}
    entities, events = canonical(data, checked)
    assert entities.value.dropna().tolist() == [20.0]
    assert events.set_index("id").actions_crm.isna().to_dict() == {1: False, 2: True, 3: True, 4: False}


def test_attributes_get_one_type_in_all_entity_tables(tmp_path):
    data = shop(tmp_path, customers=CUSTOMERS.replace("small", "1").replace("large", "25"))
    entities, _ = canonical(data, check(data))
    assert entities["size"].dropna().to_dict() == {1: "1", 2: "25", 3: "small"}


def test_nullable_columns_may_be_empty(tmp_path):
    customers = "id,joined,closed,mrr,size\n1,,2020-03-01,,\n2,,2020-04-01,,\n"
    usage = "account,week,acts_crm,acts_mail,people_crm,people_mail\n1,2020-02-03,,,,\n2,2020-02-03,,,,\n"
    data = shop(tmp_path, customers=customers, free="id,joined,size\n3,,\n", usage=usage)
    checked = check(data)
    assert checked.findings == ()
    entities, events = canonical(data, checked)
    assert entities.value.isna().all()
    assert events.actions_crm.isna().all()


def header(text):
    return text.splitlines()[0] + "\n"


def test_a_table_without_rows(tmp_path):
    data = shop(tmp_path, customers=header(CUSTOMERS))
    checked = check(data)  # nobody has converted yet
    assert counts(checked) == {("usage", "orphan_events"): ("drop", 2)}
    assert canonical(data, checked)[0].index.tolist() == [3, 4]
    with pytest.raises(DataError, match=r"No rows in usage\. .*data\.events\.table"):
        check(shop(tmp_path, usage=header(USAGE)))
    with pytest.raises(DataError, match=r"No rows in customers, free\. .*data\.entities\.tables"):
        check(shop(tmp_path, customers=header(CUSTOMERS), free=header(FREE), rules={"orphan_events": "warn"}))


def test_the_error_when_no_row_is_left_names_the_rules(tmp_path):
    usage = USAGE.replace("2020-02-03", "2199-02-03")
    usage = usage.replace("3,2020-02-10,1", "3,2020-02-10,-1").replace("4,2020-02-10,3", "4,2020-02-10,-3")
    with pytest.raises(DataError) as stopped:
        check(shop(tmp_path, usage=usage))
    text = str(stopped.value)
    assert text.startswith(
        "No rows left in table usage (used as events) after applying data.rules.impossible_dates and "
    )
    assert "Of 4 rows: 2 rows" in text
    assert text.endswith("to warn.")


def test_contracts_are_pandera_schemas(tmp_path):
    data = shop(tmp_path, usage=BROKEN["negative_counts"][0]["usage"])
    raw = open_tables(data)
    contract = make_contracts(make_rule_book(data, raw, TODAY), raw)[2]
    assert "<Check negative_counts: counts of 0 or more>" in str(contract.schema)
    assert contract.schema.columns["account"].nullable is False
    assert contract.schema.columns["people_crm"].description == "events.measures.users.crm"
    with pytest.warns(DeprecationWarning, match="infer_string"), pytest.raises(SchemaErrors) as errors:
        contract.schema.validate(raw.events, lazy=True)
    assert [error.check.name for error in errors.value.schema_errors] == ["negative_counts", "users_over_actions"]


@pytest.mark.filterwarnings("ignore:The 'future.infer_string' option:DeprecationWarning")  # Ibis 12 with pandas 3
def test_contracts_on_another_backend(tmp_path):
    folder = tmp_path / "csv"
    folder.mkdir()
    shop(folder)
    connection = sqlite3.connect(tmp_path / "shop.sqlite")
    for name in ("customers", "free", "usage"):
        pd.read_csv(folder / f"{name}.csv").to_sql(name, connection, index=False)
    connection.execute("insert into usage values (3, '2020-02-17', 'many', 1, 1, 1), (77, '2020-02-17', 1, 1, 2, 1)")
    connection.commit()
    connection.close()
    checked = check(config(None, dir=None, url=f"sqlite://{tmp_path / 'shop.sqlite'}", rules={"wrong_types": "warn"}))
    assert counts(checked)["usage", "orphan_events"] == ("drop", 1)
    assert counts(checked)["usage", "users_over_actions"] == ("warn", 1)
    assert ids(checked.tables.events, "account") == [1, 2, 3, 3, 4]


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real tables are not at {REAL}")
def test_the_real_tables(tmp_path):
    settings = yaml.safe_load((Path(__file__).parents[2] / "conf" / "data" / "hubspot.yaml").read_text())
    data = EventsData.model_validate(settings | {"dir": str(REAL)})
    raw = open_tables(data)
    checked = check_tables(data, raw)
    assert counts(checked) == {
        ("customers", "non_positive_value"): ("warn", 4),
        ("customers, noncustomers", "duplicate_ids"): ("warn", 3),
    }
    assert "id 278; id 279; id 280" in message(checked, "duplicate_ids")
    assert "kept; their revenue counts as missing" in message(checked, "non_positive_value")
    entities, events = canonical(data, checked)
    assert len(entities) == 5200
    assert len(events) == 25_387
    assert entities.value.notna().sum() == 196
