"""Feature importances: one per panel column, for every encoder and model."""

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from interpret.glassbox import ExplainableBoostingClassifier
from lightgbm import LGBMClassifier
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from threadpoolctl import threadpool_limits
from xgboost import XGBClassifier

from mlsys.evaluation.explain import MAX_ROWS, importances
from mlsys.pipeline.calibration import Identity
from mlsys.pipeline.encoders import Native, OneHot, Ordinal, TargetRate
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.models import ActivityRanking, vote
from mlsys.pipeline.pipeline_spec import PipelineSpec, Training
from mlsys.pipeline.stacking import stack

NUMBERS, CATEGORIES = ["strong", "missingindicator_strong", "strong=a"], ["plan=tier", "1_0"]
BOOSTED = {
    "xgboost": XGBClassifier(n_estimators=10, random_state=0, importance_type="gain"),
    "lightgbm": LGBMClassifier(n_estimators=10, verbose=-1, random_state=0),
    "catboost": CatBoostClassifier(iterations=10, verbose=False, allow_writing_files=False, random_seed=0),
}
MODELS = {
    **BOOSTED,
    "random_forest": RandomForestClassifier(10, min_samples_leaf=5, random_state=0),
    "hist_gradient_boosting": HistGradientBoostingClassifier(max_iter=10, random_state=0),
    "ebm": ExplainableBoostingClassifier(max_rounds=30, outer_bags=1, interactions=1, n_jobs=1, random_state=0),
    "logistic": LogisticRegression(),
    "naive_bayes": GaussianNB(),
    "vote": vote({"xgboost": BOOSTED["xgboost"], "hist": HistGradientBoostingClassifier(max_iter=5, random_state=0)}),
    "stack": stack({"xgboost": BOOSTED["xgboost"], "logistic": LogisticRegression()}, folds=2),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tests share the machine, and OpenMP is many times slower if it waits for busy cores."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def rows():
    """Rows whose label depends only on the first number and the first category; the names are misleading on purpose."""
    rng = np.random.default_rng(0)
    strong, plan = rng.normal(size=400), rng.choice(["a=b", "c", "d"], 400)
    inputs = pd.DataFrame(
        {
            "strong": np.where(rng.random(400) < 0.1, np.nan, strong),
            "missingindicator_strong": 0.5 * rng.normal(size=400),
            "strong=a": 0.5 * rng.normal(size=400),
            "plan=tier": pd.Series(plan, dtype="str"),
            "1_0": pd.Series(rng.choice(["x", "y"], 400), dtype="str"),
        }
    )
    return inputs, (2 * strong + 3 * (plan == "c") + 0.3 * rng.normal(size=400) > 1.5).astype(np.int8)


def pipeline_of(model, rows, encoder=None, numbers=NUMBERS, categories=CATEGORIES):
    made = PipelineSpec(encoder or Native(), None, model, Identity(), numbers, categories, stop_after=None)
    return fit(made, Training(*rows)).pipeline


@pytest.mark.parametrize("encoder", [Native(), OneHot(), Ordinal(), TargetRate()])
@pytest.mark.parametrize("model", MODELS)
def test_importances_add_up_and_the_relevant_columns_come_first(model, encoder, rows):
    table = importances(pipeline_of(MODELS[model], rows, encoder), rows[0], seed=0)
    assert table.columns.tolist() == ["feature", "importance"]
    assert sorted(table["feature"]) == sorted(rows[0].columns)
    assert table["importance"].sum() == pytest.approx(1)
    assert (table["importance"] >= 0).all()
    assert table["importance"].is_monotonic_decreasing
    if not isinstance(encoder, Ordinal):  # a linear model cannot use its order of levels
        assert set(table["feature"][:2]) == {"strong", "plan=tier"}


def test_levels_and_missing_value_indicators_count_for_their_column(rows):
    model = LogisticRegression()
    pipeline = pipeline_of(model, rows)
    relative = importances(pipeline, rows[0], seed=0).set_index("feature")["importance"]
    coefficients = np.abs(pipeline[-1].coef_[0])
    assert len(coefficients) == 3 + 1 + 3 + 2  # numbers, one missing-value indicator, levels
    expected = [
        coefficients[0] + coefficients[3],
        coefficients[1],
        coefficients[2],
        coefficients[4:7].sum(),
        coefficients[7:].sum(),
    ]
    assert relative[[*NUMBERS, *CATEGORIES]].tolist() == pytest.approx(np.array(expected) / coefficients.sum())


def test_gains_of_all_splits_count(rows):
    pipeline = pipeline_of(BOOSTED["xgboost"], rows)
    relative = importances(pipeline, rows[0], seed=0).set_index("feature")["importance"]
    gains = pipeline[-1].get_booster().get_score(importance_type="total_gain")
    assert relative["strong"] == pytest.approx(gains["f0"] / sum(gains.values()))
    assert relative["plan=tier"] == pytest.approx(gains["f3"] / sum(gains.values()))


def test_a_vote_is_the_weighted_mean_of_its_members(rows):
    members = {"forest": MODELS["random_forest"], "logistic": MODELS["logistic"]}
    alone = [
        importances(pipeline_of(model, rows), rows[0], seed=0).set_index("feature")["importance"]
        for model in members.values()
    ]
    both = importances(pipeline_of(vote(members, weights=[3, 1]), rows), rows[0], seed=0).set_index("feature")[
        "importance"
    ]
    for name in rows[0].columns:
        assert both[name] == pytest.approx(0.75 * alone[0][name] + 0.25 * alone[1][name])


def test_a_stack_is_the_mean_of_its_members_by_the_weights_that_it_learned(rows):
    pipeline = pipeline_of(MODELS["stack"], rows)
    first, second = pipeline[-1].fitted_members()
    alone = [importances(part.pipeline, rows[0], seed=0).set_index("feature")["importance"] for part in (first, second)]
    both = importances(pipeline, rows[0], seed=0).set_index("feature")["importance"]
    share = first.weight / (first.weight + second.weight)
    for name in rows[0].columns:
        assert both[name] == pytest.approx(share * alone[0][name] + (1 - share) * alone[1][name])


def test_a_model_that_uses_no_column_has_no_importances(rows):
    table = importances(pipeline_of(DummyClassifier(), rows), rows[0], seed=0)
    assert table["importance"].tolist() == [0.0] * 5


def test_a_model_that_reads_one_column_relies_on_it(rows):
    table = importances(pipeline_of(ActivityRanking("strong"), rows), rows[0], seed=0)
    assert table.loc[0].to_dict() == {"feature": "strong", "importance": 1.0}


def test_shuffling_samples_all_rows_and_depends_on_the_seed(rows):
    inputs = rows[0]
    # The first rows are constant: on these alone, the model seems to rely on nothing.
    quiet = pd.concat([inputs.assign(strong=0.0, **{"plan=tier": "d"})] * 6 + [inputs], ignore_index=True)
    assert len(quiet) > MAX_ROWS
    pipeline = pipeline_of(ActivityRanking("strong"), rows)
    assert importances(pipeline, quiet, seed=0)["importance"].iloc[0] == 1.0
    hist = pipeline_of(MODELS["hist_gradient_boosting"], rows)
    first, same, other = (importances(hist, quiet, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, same, check_exact=True)
    assert not first.equals(other)


@pytest.mark.parametrize(("numbers", "categories"), [(NUMBERS, []), ([], CATEGORIES)])
@pytest.mark.parametrize("model", ["xgboost", "logistic"])
def test_one_kind_of_column_is_enough(model, numbers, categories, rows):
    part = (rows[0][[*numbers, *categories]], rows[1])
    table = importances(pipeline_of(MODELS[model], part, numbers=numbers, categories=categories), part[0], seed=0)
    assert table["importance"].sum() == pytest.approx(1)
    assert len(table) == len(numbers) + len(categories)
