"""The memory of the fits is estimated before the first one; what does not fit is refused with numbers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE
from lightgbm import LGBMClassifier
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from xgboost import XGBClassifier

from mlsys.data.disk_frame import DiskFrame
from mlsys.data.panel import Panel
from mlsys.errors import DataError
from mlsys.evaluation.memory_plan import (
    DISK_FIT_BYTES_PER_COLUMN,
    DISK_FIT_BYTES_PER_ROW,
    DISK_FIT_GB,
    LARGE_FIT_GB,
    PROCESS_GB,
    memory_plan,
)
from mlsys.features.base import FeatureInfo
from mlsys.pipeline.calibration import Auto
from mlsys.pipeline.encoders import Native
from mlsys.pipeline.memory import bytes_per_value
from mlsys.pipeline.pipeline_spec import PipelineSpec
from mlsys.pipeline.survival import DiscreteTimeHazard

ROWS, COLUMNS = 1000, 10


@pytest.fixture(scope="module")
def panel():
    names = [f"f{number}" for number in range(COLUMNS)]
    frame = pd.DataFrame({name: np.zeros(ROWS, dtype=np.float32) for name in names})
    return Panel(frame, tuple(FeatureInfo(name, "number", name) for name in names))


def spec(estimator, sampler=None):
    return PipelineSpec(Native(), sampler, estimator, Auto(), [], [])


def test_small_fits_share_the_threads(panel):
    plan = memory_plan(panel, spec(XGBClassifier()), [500, 900], threads=4, usable_gb=10)
    assert (plan.rows, plan.columns, plan.at_once, plan.threads) == (ROWS, COLUMNS, 2, 2)
    assert plan.panel_gb == pytest.approx(4 * ROWS * COLUMNS / 1e9, rel=0.1)
    assert plan.fit_gb == 900 * COLUMNS * bytes_per_value(spec(XGBClassifier())) / 1e9
    plan.check()


def large_rows(model):
    return int(1e9 * LARGE_FIT_GB / COLUMNS / bytes_per_value(spec(model))) + 1


def test_large_fits_of_models_with_threads_run_one_at_a_time(panel):
    rows = large_rows(XGBClassifier())
    plan = memory_plan(panel, spec(XGBClassifier()), [rows, rows], threads=4, usable_gb=10)
    assert (plan.at_once, plan.threads) == (1, 4)


def test_other_large_fits_run_in_parallel_as_far_as_they_fit(panel):
    rows = large_rows(LogisticRegression())
    for usable_gb, at_once in ((10, 3), (2.1, 2), (1.5, 1)):
        plan = memory_plan(panel, spec(LogisticRegression()), [rows] * 3, threads=4, usable_gb=usable_gb)
        assert (plan.at_once, plan.threads) == (at_once, 1)
        plan.check()


def test_what_does_not_fit_is_refused_with_numbers_and_ways_out(panel):
    plan = memory_plan(panel, spec(LogisticRegression()), [10_000_000], threads=2, usable_gb=2)
    with pytest.raises(
        DataError, match=r"1,000 rows × 10 features.* a fit up to 4\.5 GB, 1 at once: about 4\.9 of 2 GB"
    ):
        plan.check()
    with pytest.raises(
        DataError,
        match=r"negatives=auto.*features=minimal.*fit\.external_memory=true.*data\.memory_gb.*Nothing was trained",
    ):
        plan.check()


def test_a_panel_on_disk_is_not_held_and_its_fits_take_little_per_row_and_column(panel, tmp_path):
    columns = ((name, panel.frame[name].array) for name in panel.frame.columns)
    stored = replace(panel, frame=DiskFrame.of(columns, tmp_path))
    plan = memory_plan(stored, spec(XGBClassifier()), [900], threads=2, usable_gb=10)
    assert f"{plan.panel_gb:.2g} GB on disk" in str(plan)
    some = 900 * DISK_FIT_BYTES_PER_ROW + COLUMNS * DISK_FIT_BYTES_PER_COLUMN
    assert plan.total_gb == pytest.approx(PROCESS_GB + DISK_FIT_GB + some / 1e9)
    with pytest.raises(DataError) as error:
        memory_plan(stored, spec(XGBClassifier()), [100_000_000], threads=2, usable_gb=2).check()
    assert "fewer as-ofs" in str(error.value)
    assert "external_memory" not in str(error.value)  # it is on already


def test_a_sampler_adds_its_copies_and_a_vote_needs_what_its_largest_member_needs():
    linear, boosted = LogisticRegression(), LGBMClassifier()
    vote = VotingClassifier([("linear", linear), ("boosted", boosted)])
    assert bytes_per_value(spec(vote)) == bytes_per_value(spec(linear)) > bytes_per_value(spec(boosted))
    assert bytes_per_value(spec(boosted, SMOTE())) > 2 * bytes_per_value(spec(boosted))


def test_a_model_of_when_makes_a_row_of_each_interval():
    four, two = (
        bytes_per_value(spec(DiscreteTimeHazard(XGBClassifier(), days))) for days in ([7, 14, 21, 30], [7, 30])
    )
    assert four == 2 * two > 4 * bytes_per_value(spec(XGBClassifier()))
