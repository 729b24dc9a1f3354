"""Uplift models on a simulated campaign whose effect on each row is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB

from mlsys.data.panel import Treatment
from mlsys.errors import FitError, RowsError
from mlsys.evaluation.uplift import fold_uplift_metrics
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.pipeline_spec import Training
from mlsys.pipeline.uplift import uplift, with_treatment
from mlsys.runs.calibration import Calibration
from mlsys.runs.model_io import model_bytes, model_from_bytes
from mlsys.runs.model_outputs import more_outputs

NUMBERS, CATEGORIES = ["age", "size"], ["plan", "mail"]
MAIL = Treatment("mail", "sent", "none", ("sent", "none"))
RAW = Calibration.none()


def campaign(rows, seed, share=0.5):
    """Mails help teams and deter those who are likely to buy anyway; return inputs, labels and the true effects."""
    rng = np.random.default_rng(seed)
    age, plan = rng.normal(size=rows), rng.choice(["free", "pro", "team"], rows)
    sent = rng.random(rows) < share
    odds = -1.5 + 0.9 * age + 0.5 * (plan == "pro")
    effect = 1.4 * (plan == "team") - 0.7 * np.maximum(age, 0)
    without, treated = (1 / (1 + np.exp(-each)) for each in (odds, odds + effect))
    inputs = pd.DataFrame({"age": age, "size": rng.lognormal(3, 1, rows), "plan": plan})
    inputs["mail"] = np.where(sent, "sent", "none")
    labels = (rng.random(rows) < np.where(sent, treated, without)).astype(np.int8)
    return inputs.astype({"plan": "str", "mail": "str"}), labels, treated - without


@pytest.fixture(scope="module")
def trained():
    return campaign(4_000, 0)


@pytest.fixture(scope="module")
def tested():
    return campaign(3_000, 1)


def learner(method, **parts):
    parts = {"outcome": LogisticRegression(C=0.1, max_iter=1000), "effect": Ridge(100)} | parts
    return with_treatment(uplift(**parts, method=method), MAIL)


def fitted(spec, model, trained, **rest):
    inputs, labels, _ = trained
    return fit(spec(model, numbers=NUMBERS, categories=CATEGORIES, **rest), Training(inputs, labels))


@pytest.mark.parametrize("method", ["x_learner", "t_learner"])
@pytest.mark.parametrize(("encoder", "correlation"), [("native", 0.75), ("ordinal", 0.5), ("target", 0.4)])
def test_it_finds_the_effect(method, encoder, correlation, spec, trained, tested):
    made = fitted(spec, learner(method), trained, encoder=encoder)
    inputs, labels, effects = tested
    found = more_outputs(made.pipeline, made.calibration, inputs)["uplift"]
    assert np.corrcoef(found, effects)[0, 1] > correlation  # linear models cannot tell three plans apart by one number
    assert found.mean() == pytest.approx(effects.mean(), abs=0.03)
    rows = pd.DataFrame({"label": labels, "treated": inputs["mail"] == "sent"})
    ours = fold_uplift_metrics(rows.assign(uplift=found))["qini"]
    by_probability = fold_uplift_metrics(rows.assign(uplift=made.scores(inputs)))["qini"]
    assert ours > max(0.01, by_probability)


def test_the_probability_is_that_of_the_rows_own_arm(spec, trained, tested):
    made, inputs = fitted(spec, learner("t_learner"), trained), tested[0]
    both = more_outputs(made.pipeline, RAW, inputs)
    sent = (inputs["mail"] == "sent").to_numpy()
    expected = np.where(sent, both["probability_if_treated"], both["probability_if_not"])
    np.testing.assert_array_equal(made.scores(inputs), expected)
    np.testing.assert_array_equal(both["uplift"], both["probability_if_treated"] - both["probability_if_not"])
    assert made.scores(inputs).mean() == pytest.approx(tested[1].mean(), abs=0.03)


@pytest.mark.parametrize("value", [None, "unknown"])
def test_the_uplift_does_not_depend_on_the_arm_and_a_lead_without_one_gets_the_mean(value, spec, trained, tested):
    made, inputs = fitted(spec, learner("x_learner"), trained), tested[0]
    new = inputs.assign(mail=pd.Series([value] * len(inputs), dtype="str"))
    known, unknown = (more_outputs(made.pipeline, RAW, rows) for rows in (inputs, new))
    assert all(np.array_equal(known[name], unknown[name]) for name in known)
    share = (trained[0]["mail"] == "sent").mean()
    expected = share * known["probability_if_treated"] + (1 - share) * known["probability_if_not"]
    np.testing.assert_allclose(made.scores(new), expected)


def test_samplers_and_class_weights_do_not_move_the_probabilities(spec, trained, tested):
    plain = fitted(spec, learner("t_learner"), trained)
    balanced = LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced")
    changed = [
        fitted(spec, learner("t_learner"), trained, sampler="random_over"),
        fitted(spec, learner("t_learner", outcome=balanced), trained),
    ]
    expected = more_outputs(plain.pipeline, plain.calibration, tested[0])
    for made in changed:
        outputs = more_outputs(made.pipeline, made.calibration, tested[0])
        for name, column in expected.items():
            assert np.abs(outputs[name] - column).mean() < 0.02, name


def test_the_calibration_applies_to_both_arms(spec, trained, tested):
    made = fitted(spec, learner("t_learner"), trained)
    doubled = Calibration.prior(0.25, 0.4)
    raw, outputs = (more_outputs(made.pipeline, each, tested[0]) for each in (RAW, doubled))
    for name in ("probability_if_treated", "probability_if_not"):
        np.testing.assert_array_equal(outputs[name], doubled.apply(raw[name]))


def test_a_fitted_propensity_corrects_an_assignment_by_age(spec):
    inputs, labels, effects = campaign(6_000, 3)
    likely = 1 / (1 + np.exp(-2 * inputs["age"]))
    kept = np.random.default_rng(0).random(len(inputs)) < np.where(inputs["mail"] == "sent", likely, 1 - likely)
    rows = (inputs[kept].reset_index(drop=True), labels[kept], effects[kept])
    made = fitted(spec, learner("x_learner", propensity=LogisticRegression()), rows)
    model = made.pipeline[-1]
    share, pipeline, _ = model.propensity_
    assert share == pytest.approx(0.5, abs=0.05)
    given = pipeline.predict_proba(rows[0].drop(columns="mail"))[:, 1]
    assert np.corrcoef(given, likely[kept])[0, 1] > 0.95
    found = more_outputs(made.pipeline, RAW, rows[0])["uplift"]
    assert np.corrcoef(found, rows[2])[0, 1] > 0.75


@pytest.mark.parametrize("method", ["x_learner", "t_learner"])
def test_it_is_the_same_after_saving(method, spec, trained, tested):
    made = fitted(spec, learner(method, propensity=LogisticRegression()), trained)
    data = model_bytes(made.pipeline)
    loaded = model_from_bytes(data, "pipeline.skops")
    assert model_bytes(fitted(spec, learner(method, propensity=LogisticRegression()), trained).pipeline) == data
    np.testing.assert_array_equal(loaded.predict_proba(tested[0]), made.pipeline.predict_proba(tested[0]))
    for name, column in more_outputs(made.pipeline, RAW, tested[0]).items():
        np.testing.assert_array_equal(more_outputs(loaded, RAW, tested[0])[name], column)


@pytest.mark.parametrize(
    ("arm", "label", "message"),
    [
        (
            "sent",
            1,
            r"^The treated arm \(mail = sent\) has 4 positive rows among its [\d,]+ training rows, but an uplift model",
        ),
        ("none", 1, r"^The control arm \(mail = none\) has 4 positive rows"),
        ("none", 0, r"^The control arm \(mail = none\) has 4 negative rows"),
    ],
)
def test_each_arm_needs_rows_of_both_classes(arm, label, message, spec, trained):
    inputs, labels, _ = trained
    found = np.flatnonzero((inputs["mail"] == arm) & (labels == label))
    kept = np.setdiff1d(np.arange(len(labels)), found[4:])
    with pytest.raises(RowsError, match=message):
        fitted(spec, learner("x_learner"), (inputs.iloc[kept], labels[kept], None))


def test_a_model_without_a_treatment_says_where_to_name_it(spec, trained):
    with pytest.raises(FitError, match=r"Set data\.treatment to it"):
        fitted(spec, uplift(LogisticRegression(), method="t_learner"), trained)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"outcome": None}, r"^model\.outcome: got null, allowed: a classifier"),
        ({"outcome": Ridge()}, r"^model\.outcome: got a Ridge, allowed: a classifier"),
        ({"outcome": "logistic"}, r"^model\.outcome: got 'logistic', allowed: a classifier"),
        ({"outcome": GaussianNB()}, r"^model\.effect: got null, allowed: a regressor"),
        ({"outcome": GaussianNB(), "effect": GaussianNB()}, r"^model\.effect: got a GaussianNB, allowed: a regressor"),
        ({"outcome": GaussianNB(), "effect": Ridge(), "propensity": Ridge()}, r"^model\.propensity: got a Ridge, "),
        ({"outcome": GaussianNB(), "method": "t_lerner"}, r"allowed: x_learner or t_learner, closest: t_learner$"),
    ],
)
def test_parts_of_the_wrong_kind_are_refused(parts, message, spec, trained):
    with pytest.raises(FitError, match=message):
        fitted(spec, with_treatment(uplift(**parts), MAIL), trained)


def test_other_models_do_not_change_with_the_treatment():
    model = DummyClassifier()
    assert with_treatment(model, MAIL) is model
    assert with_treatment(uplift(model, method="t_learner"), None).treatment is None


def test_the_columns_may_have_any_order(spec, trained, tested):
    made, inputs = fitted(spec, learner("x_learner"), trained), tested[0]
    outputs, again = (more_outputs(made.pipeline, RAW, rows) for rows in (inputs, inputs[inputs.columns[::-1]]))
    assert all(np.array_equal(outputs[name], again[name]) for name in outputs)


def test_an_effect_may_be_any_regressor(spec, trained, tested):
    effect = HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=100, random_state=0)
    made = fitted(spec, learner("x_learner", effect=effect), trained)
    found = more_outputs(made.pipeline, RAW, tested[0])["uplift"]
    assert np.corrcoef(found, tested[2])[0, 1] > 0.5


def test_numbers_can_be_treatments_too(spec, trained, tested):
    numbers = Treatment("mail", 1.0, 0.0, ("1", "0"))
    rows, others = (each.assign(mail=(each["mail"] == "sent").astype(float)) for each in (trained[0], tested[0]))
    model = with_treatment(uplift(LogisticRegression(C=0.1, max_iter=1000), method="t_learner"), numbers)
    recipe = replace(spec(model), numbers=[*NUMBERS, "mail"], categories=["plan"])
    made = fit(recipe, Training(rows, trained[1]))
    words = fitted(spec, learner("t_learner"), trained)
    np.testing.assert_array_equal(made.scores(others), words.scores(tested[0]))
