"""XGBoost on rows that stay on disk: the same model as in memory, and nothing learned from other rows."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from xgboost import QuantileDMatrix

from mlsys.data import disk_frame
from mlsys.data.disk_frame import DiskFrame
from mlsys.errors import DataError, EstimatorError
from mlsys.pipeline import external_fit
from mlsys.pipeline.bins import WeightedRows, bin_edges
from mlsys.pipeline.encoded_batches import EncodedBatches
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.single_fit import encode

EARLY, LATEST = np.arange(300) < 180, np.arange(300) >= 200


@pytest.fixture(autouse=True)
def several_batches(monkeypatch):
    """Rows are read in batches of 50, columns in two parts."""
    monkeypatch.setattr(disk_frame, "BATCH_BYTES", 4 * 9 * 50)
    monkeypatch.setattr("mlsys.pipeline.bins.COLUMNS_AT_ONCE", 5)


@pytest.fixture
def rows(table):
    return replace(table.training(), early=EARLY, validation=LATEST)


@pytest.fixture
def stored(tmp_path):
    """Return a function that moves training rows to disk."""

    def move(rows):
        columns = ((name, rows.inputs[name].array) for name in rows.inputs.columns)
        return replace(rows, inputs=DiskFrame.of(columns, tmp_path))

    return move


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("none", {}),
        ("random_under", {"scale_pos_weight": 3}),
        ("random_over", {"max_bin": 16}),
        ("none", {"feature_weights": {"late": 5}, "monotone_constraints": {"users_max_28d": 1}}),
    ],
)
def test_model_and_scores_are_byte_for_byte_those_in_memory(
    spec, component, rows, stored, later, sampler, options, tmp_path
):
    model = component("model", "xgboost", n_estimators=40, **options)
    how = spec(model, sampler=sampler, calibration="sigmoid", stop_after=5)
    memory, disk = fit(how, rows), fit(how, stored(rows))
    assert disk.choice == memory.choice
    assert 1 < disk.iterations < 40
    assert disk.pipeline[-1].get_booster().save_raw() == memory.pipeline[-1].get_booster().save_raw()
    assert str(disk.pipeline[-1].get_params()) == str(memory.pipeline[-1].get_params())
    assert disk.calibration == memory.calibration
    assert np.array_equal(disk.scores(later.inputs), memory.scores(later.inputs))
    assert np.array_equal(disk.scores(stored(rows).inputs), memory.scores(rows.inputs))
    assert list(tmp_path.iterdir()) == []


class Reports:
    """What a sweep is told after each tree."""

    metric = "roc_auc"

    def __init__(self):
        self.values = []

    def __call__(self, iteration, value):
        self.values.append((iteration, value))
        return iteration == 3

    def raise_if_stopped(self):
        pass


def test_a_sweep_is_told_of_each_tree_and_may_stop(spec, component, rows, stored):
    seen = []
    for inputs in (rows, stored(rows)):
        seen.append(Reports())
        fit(spec(component("model", "xgboost", n_estimators=20), stop_after=15, callback=seen[-1]), inputs)
    memory, disk = seen
    assert [iteration for iteration, _ in disk.values] == [0, 1, 2, 3]
    assert disk.values == memory.values


def test_weights_of_rows_reach_the_trees(spec, rows, stored):
    how, weights = spec(), np.where(rows.labels == 1, 1.0, 20.0)
    encoded, moved = encode(how, how.estimator, rows.rows()), encode(how, how.estimator, stored(rows).rows())
    memory, disk = (how.estimator.__class__(n_estimators=3, enable_categorical=True) for _ in range(2))
    memory.fit(encoded.X, encoded.labels, sample_weight=weights)
    external_fit.fit_xgboost(disk, moved.X, moved.labels, sample_weight=weights)
    assert disk.get_booster().save_raw() == memory.get_booster().save_raw()


def test_bin_edges_come_from_the_training_rows_alone(spec, rows, stored, monkeypatch):
    seen = []

    def spy(estimator, part, folder):
        seen.append(bin_edges(estimator, part, folder))
        return seen[-1]

    monkeypatch.setattr(external_fit, "bin_edges", spy)
    changed = rows.inputs.copy()
    changed.loc[LATEST, "users_max_28d"] = 1e6  # what edges of all rows would contain
    how = spec(stop_after=5)
    for inputs in (rows.inputs, changed):
        fit(how, stored(replace(rows, inputs=inputs)))
    first, _, second, everything = [edges.get_quantile_cut()[1] for edges in seen]
    assert np.array_equal(first, second)
    assert everything.max() >= 1e6  # the last fit is on all training rows


def test_edges_of_a_few_columns_at_a_time_are_those_of_xgboost(tmp_path, spec):
    rng = np.random.default_rng(0)
    numbers = {"many": rng.normal(size=5000), "few": rng.poisson(2, 5000), "empty": np.full(5000, np.nan)}
    numbers |= {"mostly zero": np.where(rng.random(5000) < 0.9, 0, rng.lognormal(size=5000)), "one": np.ones(5000)}
    columns = {name: values.astype(np.float32) for name, values in numbers.items()}
    columns["level"] = pd.array(rng.choice(["a", "b", None], 5000), dtype="str")
    frame, how = pd.DataFrame(columns), spec(numbers=list(numbers), categories=["level"])
    encoder = how.encoder.build(how.numbers, how.categories, _native()).fit(frame)
    encoder.fill_[:] = np.nan  # as if only these rows of the training rows had no values
    estimator, labels = how.estimator, np.zeros(5000, dtype=np.int8)
    expected = QuantileDMatrix(encoder.transform(frame), enable_categorical=True).get_quantile_cut()
    batches = EncodedBatches(encoder, DiskFrame.of(columns.items(), tmp_path))
    edges = bin_edges(estimator, WeightedRows(batches, labels, None), tmp_path).get_quantile_cut()
    assert np.array_equal(edges[0], expected[0])
    assert np.array_equal(edges[1], expected[1])


def _native():
    from mlsys.pipeline.requirements import InputRequirements

    return InputRequirements(categories=True, missing=True, missing_categories=True, scaled=False)


def test_a_disk_that_is_too_full_is_named_before_xgboost_writes(spec, rows, stored, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(external_fit.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DataError, match=r"needs .* GB of disk space in .*, but 1e-06 GB are free.*data\.cache_dir"):
        fit(spec(), stored(rows))


def test_an_error_names_the_cause_and_leaves_no_files(spec, component, rows, stored, tmp_path, capfd):
    broken = spec(component("model", "xgboost", grow_policy="sideways"))
    with pytest.raises(EstimatorError, match="sideways"):
        fit(broken, stored(rows))
    assert list(tmp_path.iterdir()) == []
    assert "cache file" not in capfd.readouterr().err
