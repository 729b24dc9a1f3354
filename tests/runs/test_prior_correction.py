"""The correction for a change of the class prior, for arrays and single numbers."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlsys.runs.prior_correction import correct_prior, scalar_prior_correction

priors = st.floats(1e-6, 1 - 1e-6)


@given(priors, priors, st.floats(0, 1))
@example(0.5, 0.002, 0.0)
@example(0.5, 0.002, 1.0)
@example(0.002, 0.9, 5e-324)
def test_one_number_gives_the_same_as_an_array(train, target, score):
    assert scalar_prior_correction(train, target)(score) == correct_prior(np.array([score]), train, target)[0]


@given(priors, priors, st.floats(0, 1))
def test_it_is_the_published_formula(train, target, p):
    a, b = target / train, (1 - target) / (1 - train)
    expected = p * a / (p * a + (1 - p) * b)
    assert scalar_prior_correction(train, target)(p) == pytest.approx(expected, rel=1e-9, abs=1e-15)
