import numpy as np
import pytest
from matplotlib.figure import Figure

from mlsys.evaluation.curves import Ranking, Reliability
from mlsys.evaluation.report.canvas import HEIGHT, WIDTH
from mlsys.evaluation.report.curve_plots import (
    GRID,
    CalibrationSeries,
    FoldSeries,
    Series,
    add_legend,
    calibration_bins,
    fold_axes,
    plot_by_fold,
    plot_calibration,
    plot_gain,
    plot_precision_recall,
    plot_roc,
)


def rankings(folds=2, skill=2.0):
    generator = np.random.default_rng(0)
    label = np.arange(200) < 20
    return [Ranking.of(generator.normal(size=200) + skill * label, label) for _ in range(folds)]


def series(label="model", **more):
    return Series(rankings(), {"color": "blue", "label": label}, **more)


def drawn(axes):
    return {str(line.get_label()): line.get_xydata() for line in axes.get_lines()}


@pytest.mark.parametrize("plot", ["gain", "precision_recall", "roc"])
def test_a_line_is_the_mean_over_the_folds(plot):
    both = [series("a"), series("b")]
    axes, curve = {
        "gain": lambda: (plot_gain(Figure(), both, entities="accounts", positives="converters"), "gain_at"),
        "precision_recall": lambda: (plot_precision_recall(Figure(), both, positives="converters"), "precision_at"),
        "roc": lambda: (plot_roc(Figure(), both), "sensitivity_at"),
    }[plot]()
    expected = np.mean([getattr(ranking, curve)(GRID) for ranking in both[0].rankings], axis=0)
    lines = drawn(axes)
    assert [name.removesuffix(" 10%") for name in lines] == ["a", "b", "at random"]
    assert lines["a"] == pytest.approx(np.column_stack([GRID, expected]))


def test_the_axes_use_the_nouns_for_entities_and_positives():
    axes = plot_gain(Figure(), [series()], entities="accounts", positives="converters")
    assert axes.get_xlabel() == "fraction of accounts contacted, best first"
    assert "fraction of converters found" in [text.get_text() for text in axes.texts]


def test_single_folds_are_drawn_only_on_request():
    faint = [
        len([line for line in plot_roc(Figure(), [series(show_folds=show)]).get_lines() if line.get_alpha() == 0.28])
        for show in (True, False)
    ]
    assert faint == [2, 0]


def test_precision_at_random_is_in_the_legend_while_there_is_space():
    few, many = (
        plot_precision_recall(Figure(), [series(str(number)) for number in range(count)], positives="hits")
        for count in (2, 3)
    )
    assert "at random 10%" in drawn(few)
    assert "at random" in drawn(many)


def reliability(observed):
    rows = np.full(len(observed), 50.0)
    predicted = np.linspace(0.001, 0.02, len(observed))
    return Reliability(predicted, np.asarray(observed), np.zeros(len(observed)), np.full(len(observed), 0.1), rows)


def test_bins_without_positives_are_hollow_marks_where_the_log_scale_starts():
    lines = [CalibrationSeries(reliability([0.0, 0.01, 0.03]), "blue", "model", "o")]
    rare, common = (plot_calibration(Figure(), lines, rare=rare) for rare in (True, False))
    assert (rare.get_xscale(), common.get_xscale()) == ("log", "linear")
    assert drawn(rare)["_none"].tolist() == [[0.001, rare.get_ylim()[0]]]
    assert "_none" not in drawn(common)
    assert len(drawn(common)["model"]) == 3


def test_calibration_intervals_are_named_where_they_are_drawn():
    for intervals, name in ((True, "observed rate, with 95% interval"), (False, "observed rate")):
        lines = [CalibrationSeries(reliability([0.01, 0.03]), "blue", "model", "o", intervals)]
        axes = plot_calibration(Figure(), lines, rare=True)
        assert [text.get_text() for text in axes.texts] == [name]
        assert len(axes.collections) == int(intervals)


@pytest.mark.parametrize(("positives", "bins"), [(0, 4), (36, 6), (600, 10)])
def test_bins_hold_about_six_positives(positives, bins):
    assert calibration_bins(np.ones(positives)) == bins


def test_markers_by_fold_are_not_cut():
    figure = Figure(figsize=(WIDTH, HEIGHT))
    upper, _ = fold_axes(figure)
    style = {"color": "blue", "marker": "o", "markersize": 6}
    plot_by_fold(upper, [FoldSeries([0, 1], [0.3, 0.4], style)], ["a", "b"], "ROC-AUC")
    radius = 3 / 72 * figure.dpi
    heights = upper.transData.transform([(0, 0.3), (1, 0.4)])[:, 1]
    box = upper.get_window_extent()
    assert box.y0 + radius < heights[0]
    assert heights[1] < box.y1 - radius


def test_folds_with_incomplete_outcomes_are_hollow():
    upper, _ = fold_axes(Figure())
    line = FoldSeries([0, 2], [0.5, 0.7], {"color": "blue", "marker": "o", "label": "model"}, [1], "incomplete")
    plot_by_fold(upper, [line], ["fold 1", "fold 2", "fold 3"], "ROC-AUC")
    assert drawn(upper)["model"].tolist() == [[0, 0.5], [2, 0.7]]
    assert drawn(upper)["incomplete"].tolist() == [[2, 0.7]]
    assert upper.get_lines()[1].get_markerfacecolor() == "white"


def test_a_second_row_of_the_legend_shrinks_the_plot():
    heights = []
    for count in (2, 6):
        figure = Figure(figsize=(4.5, 3.3))
        axes = plot_roc(figure, [series(f"run {number}") for number in range(count)])
        add_legend(figure, axes)
        heights.append(axes.get_position().height)
    assert heights[0] - heights[1] == pytest.approx(0.055)
