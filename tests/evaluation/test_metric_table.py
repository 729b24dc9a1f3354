"""The table of metrics, and that all code that shows, compares or optimises metrics uses it."""

import ast
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

import mlsys
from mlsys.errors import ConfigError
from mlsys.evaluation import metric_table
from mlsys.evaluation.metric import Metric
from mlsys.evaluation.metric_table import (
    METRICS,
    expanded,
    find_metric,
    greater_is_better,
    headline_columns,
    is_metric,
    metric_names,
    objective_names,
    table_order,
)
from mlsys.evaluation.metrics import fold_metrics, measure
from mlsys.evaluation.weighted_metrics import ScoredFold
from mlsys.terminal import Terminal

TOP_K = (5, 20)
ROOT = Path(mlsys.__file__).parent.parent
# These names also occur as statistics of a threshold, or as columns.
AMBIGUOUS = {"precision", "recall", "revenue"}


def test_names_and_their_order():
    plain = ("roc_auc", "average_precision", "log_loss", "brier", "ece")
    top_5 = ("precision@5", "recall@5", "lift@5", "revenue@5")
    assert metric_names([5]) == (*plain, *top_5)
    assert metric_names(TOP_K) == (*plain, *top_5, *(name.replace("5", "20") for name in top_5))
    assert objective_names([5]) == (*plain, *top_5, "predict_ms")


def test_every_metric_is_measured():
    assert tuple(fold_metrics([0, 1], [0.1, 0.9], [0, 1], top_k=TOP_K)) == metric_names(TOP_K)


def test_losses_and_costs_are_better_when_lower():
    lower = {name for name in objective_names(TOP_K) if not greater_is_better(name)}
    assert lower == {"log_loss", "brier", "ece", "predict_ms"}


@pytest.mark.parametrize(
    ("name", "closest"),
    [("rocauc", "roc_auc"), ("precision", "precision@k"), ("lift@x", "lift@k"), ("recall@0", "recall@k"),
     ("log_loss@5", "log_loss"), ("liftt@10", "lift@k")],
)  # fmt: skip
def test_an_unknown_name_is_an_error_with_the_closest_one(name, closest):
    assert not is_metric(name)
    for function in (greater_is_better, find_metric, table_order):
        with pytest.raises(ConfigError, match="allowed: roc_auc") as error:
            function(name)
        assert error.value.problems[0].closest == closest


def test_placeholders_are_filled_in():
    row = find_metric("recall@20", "leads")
    assert (row.name, row.title) == ("recall@20", "Recall@20")
    assert row.explanation == "fraction of all leads found in the top 20"
    for name in objective_names(TOP_K):
        assert "{" not in find_metric(name).title + find_metric(name).meaning


def test_timings_are_not_metrics():
    assert not is_metric("predict_ms")
    assert find_metric("predict_ms").write(1.234) == "1.2 ms"


def test_each_row_declares_what_its_function_needs():
    fold = ScoredFold([0, 1, 1], [-np.inf, 3.0, 7.0], None, top_k=TOP_K, is_probability=False)
    numbers = measure(fold, np.ones((1, 3)))
    without = [name for name, metric, _ in expanded(TOP_K) if metric.needs == "probability"]
    assert set(metric_names(TOP_K)) - set(numbers) == set(without) == {"log_loss", "brier", "ece"}
    assert all(np.isnan(numbers[name][0]) == (metric.needs == "value") for name, metric, _ in expanded(TOP_K)
               if name in numbers)  # fmt: skip


def test_a_top_k_row_defines_a_metric_for_each_list_length(monkeypatch):
    row = replace(METRICS["lift"], name="hits", compute=lambda sample, k: sample.hits(k), title="Hits@{k}")
    monkeypatch.setitem(METRICS, "hits", row)
    assert metric_names(TOP_K)[-6::5] == ("hits@5", "hits@20")
    assert fold_metrics([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.7], None, top_k=[1, 2])["hits@2"] == 2
    assert find_metric("hits@20").title == "Hits@20"


def test_two_rows_of_one_name_are_an_error():
    row = METRICS["roc_auc"]
    with pytest.raises(ValueError, match="same name: roc_auc"):
        metric_table._by_name([row, row])


def documented():
    """Return the row that docs/extending.md adds, evaluated from its text."""
    text = (ROOT / "docs" / "extending.md").read_text().partition("\n## A metric\n")[2].partition("\n## ")[0]
    function, row = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = dict(vars(metric_table))
    exec(f"from __future__ import annotations\n{function}", names)
    metric = eval(row, names)
    assert isinstance(metric, Metric)
    return metric


@pytest.fixture
def added(monkeypatch):
    """Add the metric of docs/extending.md to the table."""
    metric = documented()
    monkeypatch.setitem(METRICS, metric.name, metric)
    return metric


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, crm):
    """A directory with two runs optimised for the added metric, and the values that they returned."""
    from mlsys.compose import compose_config
    from mlsys.prepare import prepare
    from mlsys.train import train

    root, values = tmp_path_factory.mktemp("added"), {}
    small = ["threads=1", "metrics.bootstrap_resamples=20", "split.folds=2", "features=minimal", "data.cache=false"]
    with pytest.MonkeyPatch.context() as patch:
        metric = documented()
        patch.setitem(METRICS, metric.name, metric)
        for model in ("logistic", "dummy"):
            config = compose_config([*crm.overrides, *small, f"model={model}", f"objective={metric.name}"])
            values[model] = train(prepare(OmegaConf.create(config.to_dict())), root / "outputs" / model, [])
    return root, values


def test_an_added_metric_is_in_metrics_json(added, workplace):
    root, values = workplace
    metrics = json.loads((root / "outputs" / "logistic" / "metrics.json").read_text())
    names = list(metrics["overall"])
    assert names.index("ece") < names.index(added.name) < names.index("precision@10")
    assert metrics["overall"][added.name]["value"] == pytest.approx(values["logistic"])
    assert all(added.name in fold for fold in metrics["folds"])
    assert added.name in metrics["baselines"]["chance"]


def test_an_added_metric_is_in_the_card_and_the_report(added, workplace):
    folder = workplace[0] / "outputs" / "logistic"
    assert added.explanation.endswith("; lower is better")
    for name in ("card.md", "report.html"):
        text = (folder / name).read_text()
        assert added.title in text
        assert find_metric(added.name, "converters").explanation in text


def test_an_added_metric_is_in_the_terminal(added, workplace):
    from mlsys.evaluation.report.metric_rows import metric_rows
    from mlsys.evaluation.report.terminal import metric_table
    from mlsys.runs import Run

    run, text = Run.open(workplace[0] / "outputs" / "logistic"), io.StringIO()
    Terminal(file=text, width=200).print(metric_table(list(metric_rows(run.metrics)), folds=2, level="95%"))
    assert added.name in text.getvalue()


def test_an_added_metric_is_compared_in_its_own_direction(added, workplace, tmp_path):
    from mlsys.evaluation.comparison import compare, gather
    from mlsys.evaluation.comparison.page import render_page
    from mlsys.runs.catalog.index import RunIndex

    root, values = workplace
    found = compare(gather(["outputs"], root=root, index=RunIndex(tmp_path / "index")))
    assert found.sorted_by == found.headline[0] == added.name
    assert found.reference.candidate.name == min(values, key=values.get)  # lower is better
    other = found.runs[1]
    away = {"value": 0.2, "low": 0.1, "high": 0.3}
    assert replace(other, difference={added.name: away}).better(added.name) == "worse"
    page = render_page(found)
    assert added.title in page
    assert find_metric(added.name, "positives").explanation in page


def test_an_added_metric_can_be_an_objective(added):
    from mlsys.prepare import metric_problems
    from mlsys.sweep.checks import directions_of
    from mlsys.sweep.settings import SweepSettings

    config = {"objective": [added.name, "roc_auc"], "metrics": {"top_k": [10]}}
    assert metric_problems(config) == []
    assert directions_of(OmegaConf.create(config), SweepSettings(sampler={})) == ["minimize", "maximize"]


@pytest.mark.parametrize("headline", [True, False])
def test_the_row_determines_the_headline(added, workplace, monkeypatch, headline):
    from mlsys.evaluation.report.summary import summarise
    from mlsys.runs import Run

    monkeypatch.setitem(METRICS, added.name, replace(added, headline=headline))
    run = Run.open(workplace[0] / "outputs" / "logistic")
    config = run.config | {"objective": "log_loss"}
    summary = summarise(config=config, metrics=run.metrics, audit=run.audit, threshold=run.threshold, facts={})
    assert (added.title in [row.title for row in summary.headline]) == headline
    assert (added.title in summary.fold_metrics) == headline
    assert (added.name in headline_columns()) == headline


def listed(tree):
    """Yield the lines of literals that name two or more metrics."""
    known = METRICS.keys() - AMBIGUOUS
    for node in ast.walk(tree):
        parts = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        names = {part.value.partition("@")[0] for part in parts
                 if isinstance(part, ast.Constant) and isinstance(part.value, str)}  # fmt: skip
        if len(names & known) > 1:
            yield node.lineno


def test_no_other_module_lists_metrics():
    modules = [path for package in ("mlsys", "serve") for path in (ROOT / package).rglob("*.py")]
    found = {str(path): lines for path in modules if (lines := list(listed(ast.parse(path.read_text()))))}
    # The libraries' own names of the metrics that they report after each iteration cannot come from the table.
    found.pop(str(ROOT / "mlsys/pipeline/stopping.py"))
    assert found == {}
    assert list(listed(ast.parse('A = ("roc_auc", "brier")\nB = {"log_loss": 1, "lift@10": 2}'))) == [1, 2]
