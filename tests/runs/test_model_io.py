"""Saving and loading is bit-identical for every model and encoder; untrusted types are refused."""

import io
import json
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
import skops.io
from catboost import CatBoostClassifier
from interpret.glassbox import ExplainableBoostingClassifier
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from xgboost import XGBClassifier

from mlsys.errors import RunError
from mlsys.runs.canonical import canonical
from mlsys.runs.model_io import libraries, load_model, model_bytes, model_from_bytes, save_model
from mlsys.runs.trusted import CATBOOST, INTERPRET, LIGHTGBM, MLSYS, NUMPY, SCIKIT_LEARN, STANDARD_LIBRARY, XGBOOST

NUMBERS, CATEGORIES = ["users", "actions"], ["industry"]

ENCODERS = {
    "onehot": Pipeline(
        [
            (
                "columns",
                ColumnTransformer(
                    [
                        ("n", Pipeline([("i", SimpleImputer(add_indicator=True)), ("s", StandardScaler())]), NUMBERS),
                        ("c", OneHotEncoder(handle_unknown="ignore", min_frequency=2, sparse_output=False), CATEGORIES),
                    ]
                ),
            )
        ]
    ),
    "ordinal": ColumnTransformer(
        [
            ("n", "passthrough", NUMBERS),
            (
                "c",
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
                CATEGORIES,
            ),
        ]
    ),
    "target": ColumnTransformer(
        [
            ("n", Pipeline([("i", SimpleImputer()), ("f", FunctionTransformer(np.tanh))]), NUMBERS),
            ("c", TargetEncoder(cv=StratifiedKFold(3, shuffle=True, random_state=0)), CATEGORIES),
        ]
    ),
}
CATBOOST_MODEL = CatBoostClassifier(n_estimators=5, verbose=0, allow_writing_files=False, random_seed=0, thread_count=1)
EBM_MODEL = ExplainableBoostingClassifier(max_rounds=5, outer_bags=2, interactions=1, n_jobs=1, random_state=0)
MODELS = {
    "catboost": CATBOOST_MODEL,
    "xgboost": XGBClassifier(n_estimators=5, n_jobs=1),
    "lightgbm": LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1),
    "logistic": LogisticRegression(),
    "random_forest": RandomForestClassifier(5, random_state=0),
    "hist_gradient_boosting": HistGradientBoostingClassifier(max_iter=5, random_state=0),
    "ebm": EBM_MODEL,
    "gradient_boosting": GradientBoostingClassifier(n_estimators=5, random_state=0),
    "vote": VotingClassifier(
        [
            ("catboost", CATBOOST_MODEL),
            ("xgboost", XGBClassifier(n_estimators=5, n_jobs=1)),
            ("lightgbm", LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1)),
            ("hist", HistGradientBoostingClassifier(max_iter=5, random_state=0)),
            ("ebm", EBM_MODEL),
        ],
        voting="soft",
    ),
    "calibrated": CalibratedClassifierCV(LogisticRegression(), cv=2, method="sigmoid"),
    "dummy": DummyClassifier(strategy="prior"),
}


def fit(encoder: str, model: str, table: tuple[pd.DataFrame, np.ndarray]) -> Pipeline:
    steps = [("encoder", clone(ENCODERS[encoder])), ("model", clone(MODELS[model]))]
    if model in ("random_forest", "gradient_boosting", "vote", "calibrated", "logistic"):
        steps.insert(1, ("missing", SimpleImputer()))
    return Pipeline(steps).fit(*table)


def unseen(table: tuple[pd.DataFrame, np.ndarray]) -> pd.DataFrame:
    """Return the table with a category that is not in the training data."""
    rows = table[0].copy()
    rows.loc[0, "industry"] = "Aerospace"
    return rows


def answers(model: Pipeline, rows: pd.DataFrame) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")  # LightGBM after a NumPy encoder
        return model.predict_proba(rows)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_loaded_model_predicts_bit_for_bit(encoder, model, table, tmp_path):
    pipeline = fit(encoder, model, table)
    assert save_model(pipeline, tmp_path) == tmp_path / "model" / "pipeline.skops"
    loaded = load_model(tmp_path)
    for rows in (table[0], unseen(table)):
        assert np.array_equal(answers(pipeline, rows), answers(loaded, rows))


@pytest.mark.parametrize("model", MODELS)
def test_equal_fits_give_equal_bytes(model, table):
    assert model_bytes(fit("onehot", model, table)) == model_bytes(fit("onehot", model, table))


NATIVE = {
    "xgboost": XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True),
    "lightgbm": LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1),
    "hist_gradient_boosting": HistGradientBoostingClassifier(
        max_iter=5, categorical_features="from_dtype", random_state=0
    ),
    "ebm": EBM_MODEL,
    "catboost": clone(CATBOOST_MODEL).set_params(cat_features=("industry",)),
}


@pytest.mark.parametrize("name", NATIVE)
def test_native_categories(name, table):
    rows, label = table
    rows = rows.assign(industry=rows["industry"].fillna("none"))
    if name != "catboost":
        rows = rows.assign(industry=rows["industry"].astype("category"))
    pipeline = Pipeline([("model", clone(NATIVE[name]))]).fit(rows, label)
    data = model_bytes(pipeline)
    assert np.array_equal(pipeline.predict_proba(rows), model_from_bytes(data, "m").predict_proba(rows))
    assert model_bytes(Pipeline([("model", clone(NATIVE[name]))]).fit(rows, label)) == data


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "catboost"])
def test_early_stopping_survives(name, table):
    rows, label = table[0][NUMBERS], table[1]
    model = clone(MODELS[name]).set_params(n_estimators=50, early_stopping_rounds=2)
    if name == "lightgbm":
        held_out = {"eval_X": rows[100:], "eval_y": label[100:]}
    else:
        held_out = {"eval_set": [(rows[100:], label[100:])], "verbose": False}
    model.fit(rows[:100], label[:100], **held_out)
    loaded = model_from_bytes(model_bytes(model), "m")
    assert np.array_equal(model.predict_proba(rows), loaded.predict_proba(rows))


def test_bytes_do_not_depend_on_addresses_hashes_or_the_clock():
    def model() -> dict:
        nodes = np.empty(2, dtype=np.dtype([("a", "<i8"), ("b", "u1")], align=True))
        nodes.view(np.uint8)[:] = np.random.default_rng().integers(0, 255, nodes.nbytes)  # arbitrary padding
        nodes["a"], nodes["b"] = [1, 2], [3, 4]
        shared = np.array([1.5])
        return {"set": {"b", "a", "c"}, "bytes": b"raw", "nodes": nodes, "shared": [shared, shared], "t": (1, "x")}

    first, second = (canonical(skops.io.dumps(model())) for _ in range(2))
    assert first == second
    loaded = skops.io.loads(first, trusted=NUMPY)
    assert loaded["set"] == {"a", "b", "c"}
    assert loaded["bytes"] == b"raw"
    assert loaded["nodes"]["a"].tolist() == [1, 2]
    assert loaded["shared"][0] is loaded["shared"][1]
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_sets_are_sorted_whatever_their_order():
    def dumped(items: list[str]) -> bytes:
        """Return a file with the set stored in this order."""
        buffer, source = io.BytesIO(), io.BytesIO(skops.io.dumps({"a", "b"}))
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(buffer, "w") as new:
            schema = json.loads(old.read("schema.json"))
            schema["content"].sort(key=lambda node: items.index(json.loads(node["content"])))
            new.writestr("schema.json", json.dumps(schema))
        return buffer.getvalue()

    assert canonical(dumped(["a", "b"])) == canonical(dumped(["b", "a"]))


def test_equal_arrays_are_stored_once():
    data = canonical(skops.io.dumps([np.arange(1000.0), np.arange(1000.0)]))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == 2


class Foreign(BaseEstimator):
    """A type that is not trusted."""

    def fit(self, X, y=None):
        return self


def test_an_untrusted_type_is_refused_when_saving():
    with pytest.raises(RunError, match=r"not trusted when loading: .*test_model_io\.Foreign"):
        model_bytes(Pipeline([("foreign", Foreign())]))


def test_an_untrusted_type_is_refused_when_loading(tmp_path):
    (tmp_path / "model").mkdir()
    skops.io.dump(Pipeline([("foreign", Foreign())]), tmp_path / "model" / "pipeline.skops")
    with pytest.raises(RunError, match=r"pipeline.skops has types that are not trusted: .*test_model_io\.Foreign"):
        load_model(tmp_path)


def test_a_malicious_file_is_refused_without_running_anything(tmp_path):
    node = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode", "__id__": 1}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", json.dumps({**node, "protocol": 2, "_skops_version": "0.16.0"}))
    with pytest.raises(RunError, match=r"not trusted: os\.system"):
        model_from_bytes(buffer.getvalue(), "m")


def test_lambdas_are_refused_when_saving():
    with pytest.raises(RunError):
        model_bytes(FunctionTransformer(lambda x: x))


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_refused(data, tmp_path):
    with pytest.raises(RunError, match="cannot be loaded"):
        model_from_bytes(data, "m")
    with pytest.raises(RunError, match="is not a skops file"):
        libraries(data)
    with pytest.raises(RunError, match="cannot be read: No such file"):
        load_model(tmp_path)


def test_a_truncated_file_is_refused(pipeline):
    data = model_bytes(pipeline)
    for end in (len(data) // 2, len(data) - 1):
        with pytest.raises(RunError, match="cannot be loaded"):
            model_from_bytes(data[:end], "m")


def test_the_libraries_of_a_model(table):
    assert libraries(model_bytes(fit("onehot", "logistic", table))) == ("scikit-learn",)
    assert libraries(model_bytes(fit("onehot", "vote", table))) == (
        "catboost", "interpret-core", "lightgbm", "scikit-learn", "xgboost",
    )  # fmt: skip


@pytest.mark.parametrize(
    "names", [STANDARD_LIBRARY, NUMPY, SCIKIT_LEARN, CATBOOST, INTERPRET, LIGHTGBM, XGBOOST, MLSYS]
)
def test_the_list_is_sorted_and_every_name_exists(names):
    import importlib

    assert list(names) == sorted(set(names))
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)
