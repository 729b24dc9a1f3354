"""A saved explainable boosting machine whose terms do not fit its columns is refused."""

import numpy as np
import pytest
from interpret.glassbox import ExplainableBoostingClassifier
from sklearn.pipeline import Pipeline

from mlsys.errors import RunError
from mlsys.runs.ebm_terms import check_ebms
from mlsys.runs.model_io import model_bytes, model_from_bytes

X = np.random.default_rng(0).normal(size=(200, 2)).round(1)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


@pytest.fixture
def model():
    return ExplainableBoostingClassifier(max_rounds=5, outer_bags=1, interactions=1, n_jobs=1, random_state=0).fit(X, Y)


def test_a_valid_machine_passes(model):
    check_ebms(Pipeline([("model", model)]))


@pytest.mark.parametrize(
    ("attribute", "changed", "reason"),
    [
        ("term_features_", lambda terms: [(5,), *terms[1:]], "a column that does not exist"),
        ("term_features_", lambda terms: [(-1,), *terms[1:]], "a column that does not exist"),
        ("term_features_", lambda terms: terms[1:], "cannot be read"),
        ("term_scores_", lambda tables: [tables[0][1:], *tables[1:]], "does not fit"),
        ("term_scores_", lambda tables: [[0.0], *tables[1:]], "cannot be read"),
        ("bin_weights_", lambda tables: [tables[0][1:], *tables[1:]], "does not fit"),
        ("bins_", lambda bins: [[bins[0][0][::-1].copy(), *bins[0][1:]], bins[1]], "does not fit"),
        ("bins_", lambda bins: [[bins[0][0].astype(np.float32), *bins[0][1:]], bins[1]], "does not fit"),
        ("bins_", lambda bins: bins[:1], "no probabilities of two classes"),
        ("intercept_", lambda values: np.zeros(3), "no probabilities of two classes"),
        ("link_", lambda link: "identity", "no probabilities of two classes"),
    ],
)
def test_a_manipulated_machine_is_refused(attribute, changed, reason, model):
    setattr(model, attribute, changed(getattr(model, attribute)))
    with pytest.raises(RunError, match=f"boosting machine was refused: .*{reason}.*train again"):
        model_from_bytes(model_bytes(Pipeline([("model", model)])), "m")
