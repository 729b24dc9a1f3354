"""/score computes the panel's features bit for bit from raw rows, and refuses what it cannot compute."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from mlsys.compose import compose_config
from mlsys.data.config import EventsData
from mlsys.data.reader import open_data
from mlsys.errors import RunError
from mlsys.prepare import prepare
from mlsys.runs import Run
from mlsys.runs.golden import predict
from mlsys.train import train
from serve.features import FeatureBuilder, NoFeaturesError
from serve.features.feature_config import blocks_of
from serve.scoring import InvalidInput, Scorer

REAL = Path(__file__).parents[4] / "shared" / "data" / "hubspot"
AS_OF = "2020-01-20"


class Source:
    """A panel, and the raw rows that it was built from, in the form in which a client sends them."""

    def __init__(self, config):
        data = EventsData.model_validate(config["data"])
        reader = open_data(data, blocks_of(config), threads=2)
        self.loaded = reader.load()
        self.panel = self.loaded.panel
        self.entities, self.events = {}, {}
        columns = ["id", *data.entities.attributes.values()]
        for table in reader.raw.entities.values():
            for row in table.to_pyarrow().to_pylist():
                self._keep({name: row[name] for name in columns})
        for row in reader.raw.events.to_pyarrow().to_pylist():
            self.events.setdefault(row["id"], []).append({**row, "WHEN_TIMESTAMP": str(row["WHEN_TIMESTAMP"])})
        reader.raw.connection.disconnect()

    def _keep(self, row):
        """Of two rows with the same id, keep the one with more values, as the panel does."""
        filled = sum(value is not None for value in row.values())
        if filled > sum(value is not None for value in self.entities.get(row["id"], {}).values()):
            self.entities[row["id"]] = row

    def request(self, ids):
        rows = [self.entities[one] for one in ids], [row for one in ids for row in self.events.get(one, [])]
        return json.loads(json.dumps(rows))

    def expected(self, as_of):
        return self.panel.frame[self.panel.frame["as_of"] == as_of].reset_index(drop=True)


@pytest.fixture(scope="module")
def run(crm, tmp_path_factory):
    quick = [
        "model=logistic",
        "features=detailed",
        "metrics.bootstrap_resamples=0",
        "split.folds=2",
        "audit.sample=5",
        "threads=2",
    ]
    config = compose_config([*crm.overrides, *quick])
    folder = tmp_path_factory.mktemp("features") / "run"
    train(prepare(OmegaConf.create(config.to_dict())), folder, [])
    return Run.open(folder)


@pytest.fixture(scope="module")
def source(run):
    return Source(run.config)


@pytest.fixture(scope="module")
def builder(run):
    made = FeatureBuilder(run)
    yield made
    made.close()


def as_records(frame):
    rows = frame.to_dict("records")
    return [{name: None if pd.isna(value) else value for name, value in row.items()} for row in rows]


def test_features_and_probabilities_equal_the_panels(run, source, builder):
    scorer = Scorer.load(run.path)
    for as_of in source.panel.frame["as_of"].drop_duplicates().iloc[[0, 4, -1]]:
        expected = source.expected(as_of)
        built = builder.build(*source.request(expected["id"].tolist()), as_of.date())
        assert built.records == as_records(expected[source.panel.names])
        assert len(built.records) > 200
        probability = predict(run.model, run.calibration, expected[source.panel.names])[1]
        np.testing.assert_allclose(scorer.score_many(built.records).probabilities, probability, rtol=0, atol=1e-9)


def test_an_entity_alone_has_the_same_features(source, builder):
    as_of = str(source.panel.frame["as_of"].iloc[-1].date())
    for row in source.expected(as_of).iloc[::40].to_dict("records"):
        built = builder.build(*source.request([row["id"]]), as_of)
        assert built.records == as_records(pd.DataFrame([row])[source.panel.names])


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason=f"not found: {REAL}")
def test_features_of_the_real_tables_equal_the_panels(tmp_path):
    config = compose_config(["data=hubspot", f"data.dir={REAL}", f"data.cache_dir={tmp_path}"]).to_dict()
    source = Source(config)
    builder = FeatureBuilder(stand_in(source.loaded, config), max_entities=10_000)
    expected = source.expected("2020-06-22")
    built = builder.build(*source.request(expected["id"].tolist()), "2020-06-22")
    assert built.records == as_records(expected[source.panel.names])
    assert len(built.records) > 5_000
    builder.close()


def test_training_records_the_types_of_the_raw_columns(run):
    recipe = run.read_json("recipe.json")
    assert recipe["entities"] == {
        "id": "int64", "ALEXA_RANK": "int64", "EMPLOYEE_RANGE": "string", "INDUSTRY": "string",
    }  # fmt: skip
    assert recipe["events"]["WHEN_TIMESTAMP"] == "timestamp"
    assert recipe["events"]["USERS_EMAIL"] == "int64"


def test_times_are_read_in_training_format_too(crm, tmp_path):
    for name, frame in crm.frames.items():
        times = [column for column in ("CLOSEDATE", "WHEN_TIMESTAMP") if column in frame]
        written = {column: pd.to_datetime(frame[column]).dt.strftime("%m/%d/%Y") for column in times}
        frame.assign(**written).to_csv(tmp_path / f"{name}.csv", index=False)
    quick = ["model=dummy", "data.cache=false", f"data.dir={tmp_path}", "data.spine.dates=[]"]
    config = compose_config(["data=hubspot", *quick]).to_dict()
    source = Source(config)
    builder = FeatureBuilder(stand_in(source.loaded, config))
    as_of = source.panel.frame["as_of"].iloc[-1].date()
    expected = source.expected(str(as_of)).head(30)
    entities, events = source.request(expected["id"].tolist())
    written = [
        event | {"WHEN_TIMESTAMP": pd.Timestamp(event["WHEN_TIMESTAMP"]).strftime("%m/%d/%Y")} for event in events
    ]
    built = [builder.build(entities, rows, as_of).records for rows in (events, written)]
    assert built == [as_records(expected[source.panel.names])] * 2
    written[0]["WHEN_TIMESTAMP"] = "13/01/2020"
    with pytest.raises(InvalidInput, match=r"a date or time .* or a date such as 02/24/2020 as in training"):
        builder.build(entities, written, as_of)
    builder.close()


@pytest.fixture
def one(source):
    """An entity with three events, and the day on which the last of them is known."""
    number = next(number for number, rows in source.events.items() if len(rows) > 3)
    rows = sorted(source.events[number], key=lambda row: row["WHEN_TIMESTAMP"])[:3]
    known = pd.Timestamp(rows[-1]["WHEN_TIMESTAMP"]) + pd.Timedelta(days=7)
    return SimpleNamespace(entity=dict(source.entities[number]), events=[dict(row) for row in rows], known=known)


def day(moment, days=0):
    return str((moment + pd.Timedelta(days=days)).date())


def test_events_not_known_by_the_as_of_are_not_used(builder, one):
    before = builder.build([one.entity], one.events[:2], day(one.known, -1))
    later = {**one.events[0], "WHEN_TIMESTAMP": day(one.known, 400), "USERS_EMAIL": 9, "ACTIONS_EMAIL": 9}
    after = builder.build([one.entity], [*one.events, later], day(one.known, -1))
    assert after.records == before.records
    assert before.warnings == ()
    assert after.warnings == (f"events: 2 rows (2, 3) not known by the as-of {day(one.known, -1)}: not used.",)
    assert builder.build([one.entity], one.events, day(one.known)).records != before.records


def test_an_earlier_request_leaves_nothing_behind(builder, one):
    alone = builder.build([one.entity], [], day(one.known))
    builder.build([one.entity], one.events, day(one.known, 30))
    assert builder.build([one.entity], [], day(one.known)) == alone


def test_requests_from_several_threads_do_not_mix(builder, one):
    days = [day(one.known, shift) for shift in range(4)] * 2
    expected = [builder.build([one.entity], one.events, each) for each in days]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda each: builder.build([one.entity], one.events, each), days)) == expected
    assert len({json.dumps(built.records) for built in expected}) > 1


def test_a_repeated_event_is_summed_as_in_the_panel_with_a_warning(builder, one):
    built = builder.build([one.entity], [one.events[0], *one.events], day(one.known))
    assert built.warnings == ("events: 1 row (1) with a duplicate id and time: kept and summed.",)
    once = builder.build([one.entity], one.events, day(one.known))
    assert built.records[0]["actions_sum_all"] > once.records[0]["actions_sum_all"]


def test_an_as_of_in_the_future_has_a_warning(builder, one):
    warnings = builder.build([one.entity], one.events, "2999-01-01").warnings
    assert warnings == ("The as-of 2999-01-01 is in the future: events until then are not known yet.",)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("id", None, "entities.id is null; expected a whole number."),
        ("id", "7", 'entities.id is "7"; expected a whole number.'),
        ("id", True, "entities.id is true; expected a whole number."),
        ("id", 2**63, "entities.id is 9223372036854775808; expected a whole number."),
        ("ALEXA_RANK", 2.5, "entities.ALEXA_RANK is 2.5; expected a whole number or null."),
        ("ALEXA_RANK", float("nan"), "entities.ALEXA_RANK is NaN; expected a whole number or null."),
        ("ALEXA_RANK", [1], "entities.ALEXA_RANK is a list; expected a whole number or null."),
        ("EMPLOYEE_RANGE", 1, "entities.EMPLOYEE_RANGE is 1; expected text or null."),
        ("INDUSTRY", "\ud800", "expected text or null"),
    ],
)
def test_a_wrong_value_of_an_entity_is_named(builder, one, column, value, message):
    with pytest.raises(InvalidInput) as caught:
        builder.build([{**one.entity, column: value}], [], AS_OF)
    assert message in caught.value.problems[0]["message"]
    assert caught.value.problems[0]["row"] == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("WHEN_TIMESTAMP", None),
        ("WHEN_TIMESTAMP", 1_579_000_000),
        ("WHEN_TIMESTAMP", "yesterday"),
        ("WHEN_TIMESTAMP", "2020-02-30"),
        ("WHEN_TIMESTAMP", "1970-01-01"),
        ("WHEN_TIMESTAMP", "2020-02-03T25:00:00"),
        ("USERS_EMAIL", "3"),
        ("USERS_EMAIL", float("inf")),
        ("USERS_EMAIL", {}),
        ("id", 1.5),
    ],
)
def test_a_wrong_value_of_an_event_is_named(builder, one, column, value):
    with pytest.raises(InvalidInput) as caught:
        builder.build([one.entity], [one.events[0], {**one.events[1], column: value}], AS_OF)
    (found,) = caught.value.problems
    assert (found["row"], found["field"]) == (1, f"events.{column}")


def test_all_problems_are_reported_at_once(builder, one):
    renamed = {("INDUSTRI" if name == "INDUSTRY" else name): value for name, value in one.entity.items()}
    unknown = {**one.events[0], "id": 10**6}
    with pytest.raises(InvalidInput) as caught:
        builder.build([one.entity, one.entity, renamed, 7], [unknown, {**one.events[0], "CLOSEDATE": 1}], "24.2.2020")
    found = [(each["row"], each["field"], each["nearest"]) for each in caught.value.problems]
    assert found == [
        (None, "as_of", None),
        (2, "entities.INDUSTRY", "INDUSTRI"),
        (2, "entities.INDUSTRI", "INDUSTRY"),
        (3, "entities", None),
        (1, "events.CLOSEDATE", None),
        (1, "entities.id", None),
        (2, "entities.id", None),
        (0, "events.id", None),
    ]
    assert "is already in row 0" in str(caught.value)
    assert "1000000 is not the id of any of the request's entities" in str(caught.value)


def test_a_request_of_another_size_or_shape_is_refused(run, one):
    small = FeatureBuilder(run, max_entities=1, max_events=2)
    two = {**one.entity, "id": 10**6}
    for entities, events, message in [
        ([one.entity, two], [], "entities has 2 rows; at most 1 is allowed in one request."),
        ([one.entity], one.events, "events has 3 rows; at most 2 are allowed"),
        ([], [], "entities is empty; expected at least one row."),
        (one.entity, [], "entities is an object; expected a list of objects."),
        ([one.entity], None, "events is null; expected a list of objects."),
    ]:
        with pytest.raises(InvalidInput, match=message):
            small.build(entities, events, AS_OF)
    small.close()


HOSTILE = [
    None,
    True,
    -1,
    1e308,
    -(10**400),
    "",
    " ",
    "x" * 10_000,
    "\0",
    "'; DROP TABLE events",
    "\ud83d",
    [],
    {},
    [[]],
]


def test_hostile_values_are_refused_or_scored(builder, one):
    for value in HOSTILE:
        for name in builder.entities.names:
            _build_or_refuse(builder, [{**one.entity, name: value}], one.events, day(one.known))
        for name in builder.events.names:
            _build_or_refuse(builder, [one.entity], [{**one.events[0], name: value}], day(one.known))
        _build_or_refuse(builder, [one.entity], one.events, value)
    assert builder.build([one.entity], one.events, day(one.known)).records


def _build_or_refuse(builder, *request):
    try:
        records = builder.build(*request).records
    except InvalidInput:
        return
    assert len(records) == 1


def changed(run, *, data=None, **attributes):
    """Return a substitute for the run with another config."""
    config = {**run.config, "data": {**run.config["data"], **(data or {})}, **attributes.pop("config", {})}
    copied = {name: getattr(run, name) for name in ("schema", "manifest", "read_json", "name", "path")}
    return SimpleNamespace(**{**copied, "config": config, **attributes})


def test_rules_about_values_follow_the_data_config(run, builder, one):
    request = [one.entity], [*one.events[:2], {**one.events[2], "ACTIONS_EMAIL": -1}], day(one.known)
    rules = run.config["data"]["rules"]
    dropped = builder.build(*request)
    assert dropped.records == builder.build([one.entity], one.events[:2], day(one.known)).records
    assert dropped.warnings[0] == "events: 1 row (2) with a negative count: dropped."
    kept = FeatureBuilder(changed(run, data={"rules": {**rules, "negative_counts": "warn"}}))
    assert kept.build(*request).records != dropped.records
    assert kept.build(*request).warnings[0] == "events: 1 row (2) with a negative count: kept."
    kept.close()
    strict = FeatureBuilder(changed(run, data={"rules": {**rules, "negative_counts": "error"}}))
    with pytest.raises(InvalidInput, match="row 2: A row with a negative count; expected counts of 0 or more"):
        strict.build(*request)
    strict.close()


def blocks(**nodes):
    return {"features": {"blocks": nodes}}


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"data": {"kind": "table"}}, NoFeaturesError, "trained on a flat table .* Send the inputs to /predict"),
        (blocks(), NoFeaturesError, r"no feature blocks \(features=none\).* Send its inputs to /predict"),
        (
            blocks(own={"_target_": "os.system", "command": "true"}),
            RunError,
            "is os.system; only blocks from mlsys.feat",
        ),
        (
            blocks(own={"_target_": "mlsys.features.Windws"}),
            RunError,
            "Windws, which is not installed: .* the code that it was",
        ),
        (blocks(own={"_target_": "mlsys.features.base.History"}), RunError, "which is not a feature block class"),
        (blocks(own={"_target_": "mlsys.features.Windows"}), RunError, "does not accept its arguments"),
        (
            blocks(own={"_target_": "mlsys.features.Tenure"}),
            RunError,
            "do not compute these inputs of .*actions_sum_7d",
        ),
    ],
)
def test_a_run_whose_features_cannot_be_computed_is_refused(run, config, error, message):
    with pytest.raises(error, match=message):
        FeatureBuilder(changed(run, config=config))


def test_a_run_without_recipe_json_is_refused(run):
    with pytest.raises(NoFeaturesError, match="Train it again to compute features here"):
        FeatureBuilder(changed(run, manifest=SimpleNamespace(files={})))


SHOP = {
    "accounts": """id,joined,score,vip,plan
a,2020-01-01,1.5,true,gold
 b,2020-02-03 08:00:00,,false,
c,2020-03-01,2,,
""",
    "orders": """id,at
a,2020-02-25
""",
    "visits": """id,at,a_x,a_y,u_x,u_y
a,2020-01-02,0.1,1,1,
a,2020-02-01T23:30:00-02:00,0.2,2,1,2
b,2020-02-10 12:00:00,0.3,3,1,3
b ,2020-02-12,,4,1,1
""",
}
SHOP_BLOCKS = {
    "totals": {"_target_": "mlsys.features.Windows", "measures": ["actions", "users_y"], "windows": [7]},
    "recency": {"_target_": "mlsys.features.Recency", "measures": ["actions"]},
    "plan": {"_target_": "mlsys.features.Industry", "attribute": "plan"},
    "score": {"_target_": "mlsys.features.WebRank", "attribute": "score"},
    "vip": {"_target_": "mlsys.features.EmployeeRange", "attribute": "vip"},
}


def test_text_ids_fractional_counts_and_creation_dates(tmp_path):
    """Raw tables of another business, as untidy text."""
    for name, text in SHOP.items():
        (tmp_path / f"{name}.csv").write_text(text)
    attributes = {name: name for name in ("score", "vip", "plan")}
    measures = {"actions": {"x": "a_x", "y": "a_y"}, "users": {"x": "u_x", "y": "u_y"}}
    data = {
        "kind": "events", "name": "shop", "dir": str(tmp_path), "cache": False,
        "entities": {"tables": ["accounts"], "id": "id", "created": "joined", "attributes": attributes},
        "outcome": {"table": "orders", "id": "id", "time": "at"},
        "events": {"table": "visits", "id": "id", "time": "at", "available_after_days": 7, "measures": measures,
                   "activity": {"measure": "users"}},
        "spine": {"dates": ["2020-02-24"], "start": "2020-02-24"},
    }  # fmt: skip
    config = {"data": data, "features": {"blocks": SHOP_BLOCKS}}
    reader = open_data(EventsData.model_validate(data), blocks_of(config), threads=1)
    loaded = reader.load()
    texts = {"id": str, "plan": str, "joined": str, "at": str}
    entities, events = (
        as_records(pd.read_csv(tmp_path / f"{name}.csv", dtype=texts)) for name in ("accounts", "visits")
    )
    builder = FeatureBuilder(stand_in(loaded, config))
    built = builder.build(entities[:2], events, "2020-02-24")
    assert built.records == as_records(loaded.panel.inputs)
    assert loaded.panel.frame["id"].tolist() == ["a", "b"]
    assert built.records[1]["actions_sum_all"] == 7.3
    with pytest.raises(InvalidInput, match="row 2: The entity did not exist yet on 2020-02-24"):
        builder.build(entities, events, "2020-02-24")
    builder.close()
    reader.raw.connection.disconnect()


def stand_in(loaded, config):
    """Return a substitute for a run, with all that a builder reads."""
    kinds = {"number": "float64", "category": "string"}
    inputs = [{"name": info.name, "dtype": kinds[info.kind], "nullable": True} for info in loaded.panel.features]
    return SimpleNamespace(
        config=config,
        schema={"inputs": inputs},
        manifest=SimpleNamespace(files={"recipe.json": None}),
        read_json=lambda name: loaded.recipe,
        name="shop",
        path=Path("shop"),
    )
