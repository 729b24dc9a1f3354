"""The check whether a saved pipeline could be loaded again: what it finds, and how rarely it fits."""

import pytest
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from mlsys.pipeline import storable
from mlsys.pipeline.encoders import Native, Ordinal
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.models import ActivityRanking, vote
from mlsys.pipeline.storable import untrusted_parts

KD_TREE = "sklearn.neighbors._kd_tree.KDTree"
BALL_TREE = "sklearn.neighbors._ball_tree.BallTree"


@pytest.fixture
def fits(monkeypatch):
    """The estimators that are fitted for the check, without results of earlier tests."""
    fitted = []

    def spy(spec, rows):
        fitted.append(spec.estimator)
        return fit(spec, rows)

    monkeypatch.setattr(storable, "_results", {})
    monkeypatch.setattr(storable, "fit", spy)
    return fitted


def test_types_that_appear_in_the_fit_are_found():
    assert KD_TREE in untrusted_parts(Native(), KNeighborsClassifier()).model
    assert untrusted_parts(Native(), LogisticRegression()) == ((), ())


def test_trials_that_differ_in_numbers_share_one_fit(fits):
    for trial in range(1, 6):
        model = LGBMClassifier(n_estimators=100 * trial, learning_rate=0.01 * trial, max_depth=trial, verbose=-1)
        assert untrusted_parts(Native(max_categories=10 * trial), model) == ((), ())
    assert len(fits) == 1


def test_votes_whose_members_differ_in_numbers_share_one_fit(fits):
    for trial in (1, 2):
        members = {"logistic": LogisticRegression(C=0.1 * trial), "bayes": GaussianNB()}
        untrusted_parts(Native(), vote(members, weights=[trial, 1]))
    assert len(fits) == 1


@pytest.mark.parametrize(
    "other",
    [
        (Native(), GaussianNB()),
        (Ordinal(), LogisticRegression()),
        (Native(), LogisticRegression(solver="liblinear")),
        (Native(), LogisticRegression(fit_intercept=False)),
        (Native(), LogisticRegression(class_weight={0: 1, 1: 5})),
        (Native(), ActivityRanking("users")),
        (Native(), vote({"logistic": LogisticRegression()})),
    ],
    ids=repr,
)
def test_another_class_text_or_switch_is_checked_again(other, fits):
    untrusted_parts(Native(), LogisticRegression())
    untrusted_parts(*other)
    assert len(fits) == 2


def test_a_shared_result_is_never_that_of_another_algorithm(fits):
    found = {
        name: untrusted_parts(Native(), KNeighborsClassifier(algorithm=name)).model for name in ("kd_tree", "ball_tree")
    }
    assert KD_TREE in found["kd_tree"]
    assert BALL_TREE in found["ball_tree"]
    assert len(fits) == 2


def test_the_estimator_is_not_modified(fits):
    model = LGBMClassifier(n_estimators=300)
    untrusted_parts(Native(), model)
    assert model.n_estimators == 300
    assert fits[0].n_estimators == 1
    assert not hasattr(model, "classes_")
