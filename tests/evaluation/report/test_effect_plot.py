"""What single columns add: which curves are shown, what the plot says, and that odd ones are drawn."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from interpret.glassbox import ExplainableBoostingClassifier
from PIL import Image
from sklearn.linear_model import LogisticRegression

from mlsys.evaluation.effects import Effect, effects
from mlsys.evaluation.report.canvas import house_style, render_png
from mlsys.evaluation.report.effect_plot import draw_effects
from mlsys.evaluation.report.plots import write_plots
from mlsys.pipeline.calibration import Identity
from mlsys.pipeline.ebm import Curve
from mlsys.pipeline.encoders import Native, OneHot
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.pipeline_spec import PipelineSpec, Training
from mlsys.pipeline.smote import SmoteMixed


@pytest.fixture(scope="module")
def made():
    """Return a function that fits a machine behind an encoder."""
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({f"column {i}": rng.normal(size=300) for i in range(7)})
    rows["größe <b>"] = np.where(rng.random(300) < 0.2, np.nan, rng.integers(0, 4, 300))
    rows["plan"] = pd.Series(rng.choice(["free", "pro", "a very long name of a level"], 300), dtype="str")
    odds = 2 * rows["größe <b>"].fillna(-1) + 3 * (rows["plan"] == "pro") - 3
    labels = (odds + rng.logistic(size=300) > 0).astype(np.int8)

    def fitted(encoder=None, estimator=None, sampler=None):
        machine = ExplainableBoostingClassifier(max_rounds=30, outer_bags=2, interactions=1, n_jobs=1, random_state=0)
        numbers = [name for name in rows if name != "plan"]
        spec = PipelineSpec(encoder or Native(), sampler, estimator or machine, Identity(), numbers, ["plan"])
        return fit(spec, Training(rows, labels)).pipeline

    return fitted


def test_the_most_important_columns_are_shown_by_name(made):
    shown = dict(effects(made()))
    assert len(shown) == 6
    assert set(list(shown)[:2]) == {"größe <b>", "plan"}
    adds = dict(zip(shown["plan"].bins, shown["plan"].adds, strict=True))
    assert adds["pro"] > 0 > adds["free"]
    assert shown["größe <b>"].missing < shown["größe <b>"].adds[-1]
    assert shown["größe <b>"].bins.tolist() == [0.5, 1.5, 2.5]
    assert shown["plan"].missing is None


@pytest.mark.parametrize(
    "other", [{"encoder": OneHot()}, {"estimator": LogisticRegression()}, {"sampler": SmoteMixed(random_state=0)}]
)
def test_columns_that_are_not_those_of_the_panel_are_not_shown(other, made):
    assert effects(made(**other)) == []


def test_the_plot_says_what_it_shows(made, tmp_path, predictions, importances):
    shown = effects(made())
    nouns = {"entities": "accounts", "positives": "converters"}
    files = write_plots(tmp_path, predictions, importances, {}, effects=shown, **nouns)
    assert list(files)[-1] == "effects"
    with Image.open(files["effects"]) as image:
        text = image.info["Description"]
    assert text.startswith("What the 6 most important columns add to the log odds. ")
    assert "größe <b>: from -" in text
    assert "; a missing value -" in text
    assert "pro +" in text
    assert "effects" not in write_plots(tmp_path, predictions, importances, {}, **nouns)


@pytest.mark.parametrize("starts", [[0.5], np.linspace(0.001, 0.999, 5), np.linspace(0.00122, 0.999, 90)])
def test_the_label_of_missing_values_does_not_overlap_the_first_number(starts):
    adds = np.linspace(-0.5, 0.5, len(starts) + 1)
    curve = Curve(0, np.asarray(starts), adds, np.zeros(len(adds)), np.ones(len(adds)), 0.1, 1.0)
    boxes = []

    def draw(figure):
        words = draw_effects(figure, [Effect("share", curve)])
        figure.draw_without_rendering()
        boxes.extend(label.get_window_extent() for label in figure.axes[0].get_xticklabels())
        return words

    with house_style():
        render_png(draw)
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


ONE = np.ones(1)
ODD = {
    "one bin": Curve(0, np.empty(0), ONE, ONE, ONE, None, 1.0),
    "only missing values": Curve(0, np.empty(0), 0 * ONE, 0 * ONE, 0 * ONE, -3.0, 1.0),
    "only missing levels": Curve(0, ("a",), ONE, ONE, 0 * ONE, 2.0, 1.0),
    "long levels": Curve(0, ("$x_$" * 9, "数"), np.array([1.0, -2.0]), np.zeros(2), np.ones(2), 0.5, 1.0),
    "no effect": Curve(0, np.array([1e300]), np.zeros(2), np.zeros(2), np.ones(2), None, 1.0),
}


@pytest.mark.parametrize("curve", ODD.values(), ids=ODD)
def test_odd_curves_are_drawn(curve):
    with house_style():
        assert len(render_png(lambda figure: draw_effects(figure, [Effect("a" * 90, curve)]))) > 1_000
