"""Explainable boosting machines: scored to the bit as by interpret, explained by Shapley values, without interpret."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.runs import Run
from mlsys.runs.calibration import Calibration
from mlsys.runs.logistic import scalar_sigmoid, sigmoid
from serve.scoring import Scorer
from serve.scoring.fields import RecordBlock
from serve.scoring.models.ebm import shapley_values
from serve.scoring.models.sklearn_pipeline import PipelinePath

PAIRS = {"interactions": [["users", "plan"], ["mrr", "trend"], ["industry", "plan", "mrr"]]}
TEXTS = ["Retail", "Bank", "pro", "(rare)", "odd 3", "Never seen", "(missing)", None]


@pytest.fixture(scope="module")
def both(run_of):
    """Return a scorer, and its model with interpret's log odds of rows."""
    scorer = Scorer.load(run_of("ebm", **PAIRS))
    pipeline = Run.open(scorer.run.path).model
    frame = PipelinePath(pipeline, scorer.inputs.fields, ((), ()), Calibration.none())._frame
    return scorer, pipeline, lambda block: pipeline[-1].decision_function(pipeline[0].transform(frame(block)))


@pytest.fixture(scope="module")
def edges(both):
    """Numbers at, just below and just above each cut, and far from all of them."""
    cuts = np.unique(
        np.concatenate([cuts for bins in both[1][-1].bins_ for cuts in bins if not isinstance(cuts, dict)])
    )
    return [
        *cuts,
        *np.nextafter(cuts, -np.inf),
        *np.nextafter(cuts, np.inf),
        0.0,
        -0.0,
        math.nan,
        1e300,
        -1e300,
        5e-324,
    ]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_scores_are_those_of_interpret_to_the_bit(data, both, edges):
    scorer, pipeline, log_odds = both
    number, text = st.sampled_from([float(each) for each in edges]), st.sampled_from(TEXTS)
    record = st.tuples(st.tuples(*[number] * 4), st.tuples(text, text))
    records = data.draw(st.lists(record, min_size=1, max_size=6))
    block, path = RecordBlock.of(records), scorer._predictor
    expected = log_odds(block)
    assert path.many(block).tolist() == sigmoid(expected).tolist()
    assert [path.one(*each) for each in records] == [scalar_sigmoid(each) for each in expected.tolist()]
    frame = PipelinePath(pipeline, scorer.inputs.fields, ((), ()), Calibration.none())._frame(block)
    np.testing.assert_allclose(path.many(block), pipeline.predict_proba(frame)[:, 1], rtol=1e-14, atol=0)


def brute_force(scores, weights):
    """Average what each column adds over all orders, the unknown columns being independent as in the training rows."""
    axes = range(scores.ndim)
    shares = [weights.sum(axis=tuple(set(axes) - {axis})) / weights.sum() for axis in axes]

    def mean(known):
        cells = itertools.product(*([(known[a], 1.0)] if a in known else list(enumerate(shares[a])) for a in axes))
        return sum(math.prod(share for _, share in cell) * scores[tuple(i for i, _ in cell)] for cell in cells)

    parts = np.zeros((scores.ndim, *scores.shape))
    for cell in np.ndindex(scores.shape):
        orders = list(itertools.permutations(axes))
        for order in orders:
            for count, axis in enumerate(order):
                before = {a: cell[a] for a in order[:count]}
                parts[(axis, *cell)] += (mean(before | {axis: cell[axis]}) - mean(before)) / len(orders)
    return mean({}), parts


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 2)])
def test_a_term_is_divided_by_shapley_values(shape):
    rng = np.random.default_rng(len(shape))
    scores, weights = rng.normal(size=shape), rng.integers(0, 9, shape).astype(float)
    mean, values = shapley_values(scores, weights)
    expected = brute_force(scores, weights)
    assert mean == pytest.approx(expected[0])
    np.testing.assert_allclose(values, expected[1], atol=1e-12)
    np.testing.assert_allclose(mean + sum(values), scores, atol=1e-12)


def test_the_service_needs_no_interpret(run_of):
    code = (
        "import sys; sys.modules['interpret'] = None\n"
        "from pathlib import Path; from serve.scoring import Scorer\n"
        "import mlsys.runs.reader as reader\n"
        "installed = reader.package_versions\n"
        "reader.package_versions = lambda names: {k: v for k, v in installed(names).items() if k != 'interpret-core'}\n"
        f"print(Scorer.load(Path({str(run_of('ebm'))!r})).path, 'sklearn' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "terms False\n", done.stderr
