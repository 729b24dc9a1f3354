import re

import pandas as pd
import pytest

from mlsys.evaluation.report.html import render_report
from mlsys.evaluation.report.plots import write_plots
from mlsys.evaluation.report.summary import summarise
from tests.evaluation.conftest import NOUNS, worse
from tests.pages import Page, check_accessible
from tests.serve.page.conftest import browser  # noqa: F401 - a fixture


def test_the_page_is_self_contained(plots, run):
    html = render_report(summarise(**run), plots)
    page = Page(html)
    assert page.open == []
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert not re.search(r"@import|<script|url\(|https?://", html)
    assert "default-src 'none'" in html
    assert len(page.all("img")) == len(plots)
    assert len(html) < 500_000


def test_the_page_is_accessible(plots, run):
    page = Page(render_report(summarise(**run), plots))
    check_accessible(page)
    assert len(page.all("table")) == 5


def test_the_page_adapts_to_dark_mode_and_narrow_screens(run):
    html = render_report(summarise(**run), {})
    assert "prefers-color-scheme: dark" in html
    assert "max-width: 560px" in html
    assert "width=device-width" in html


@pytest.mark.parametrize("width", [1000, 1280, 1440])
def test_the_table_of_folds_is_shown_whole(width, browser, plots, run):  # noqa: F811 - a fixture
    for fold in run["metrics"]["folds"]:
        fold |= {"precision@10": 0.1, "revenue@10": 1243.0, "log_loss": 0.0117}
    run["metrics"]["overall"] |= {name: {"value": 0.1} for name in ("precision@10", "revenue@10", "log_loss")}
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_content(render_report(summarise(**run), plots))
    table = page.locator(".table-wider .scroll")
    assert "Revenue@10" in table.inner_text()
    assert table.evaluate("table => table.scrollWidth - table.clientWidth") == 0
    page.close()


def test_the_page_contains_the_metrics(plots, run):
    text = " ".join(" ".join(Page(render_report(summarise(**run), plots)).text).split())
    for fact in ("0.901", "0.860 to 0.940", "catboost on hubspot", "incomplete", "not yet", "mlsys replay outputs/"):
        assert fact in text


def test_markup_in_the_data_stays_text(tmp_path, predictions, run):
    evil = "</style><script>alert(1)</script>"
    importances = pd.DataFrame({"feature": [f'"><b>{evil}'], "importance": [1.0]})
    plots = write_plots(tmp_path, predictions, importances, run["metrics"], **NOUNS)
    run["facts"] |= {"data": evil, "target": evil, "run": evil, "positives_name": evil}
    run["facts"]["contract"][0]["message"] = evil
    run["audit"] = {"status": evil, "checks": [{"name": evil, "status": f'x" onload="{evil}', "message": evil}]}
    run["config"]["choices"]["model"] = evil
    run["threshold"]["method"] = evil
    run["top_leads"]["id"] = evil
    html = render_report(summarise(**run), plots)
    page = Page(html)
    assert page.open == []
    assert page.all("script") == []
    assert not any("onload" in attributes for _, attributes in page.tags)
    assert "&lt;script&gt;" in html


def test_the_confidence_level_is_the_configured_one(run):
    run["config"]["metrics"] = {"confidence": 0.5}
    html = render_report(summarise(**run), {})
    assert "50% interval" in html
    assert "95%" not in html.partition("</style>")[2]


def test_the_page_says_what_to_do_first(run):
    assert "In short The model ranks better than activity (ROC-AUC" in Page(render_report(summarise(**run), {})).words


def test_the_page_shows_how_models_age(run):
    age = {"days": 28.0, "folds": 3, "metrics": {"roc_auc": worse(-0.08, -0.02)}}
    run["metrics"]["by_age"] = [age, age | {"days": 1.0, "folds": 2}]
    page = Page(render_report(summarise(**run), {}))
    check_accessible(page)
    assert "Models that were 28 days older had a ROC-AUC of 0.850 instead of 0.900 on the same 3 folds (" in page.words
    assert "28 days 3 0.850 (−0.050; −0.080 to −0.020) 1 day 2 0.850 (−0.050; −0.080 to −0.020)" in page.words
    assert "How often to retrain" not in Page(render_report(summarise(**run | {"metrics": {}}), {})).words


def test_the_page_shows_the_learning_curve(run):
    assert "Would more data help?" not in Page(render_report(summarise(**run), {})).words
    run["metrics"]["learning_curve"] = [
        {"fraction": 0.5, "rows": 500.0, "positives": 20.0, "metrics": {"roc_auc": worse(-0.08, -0.02)}},
        {"fraction": 1.0, "rows": 1000.0, "positives": 40.0},
    ]
    page = Page(render_report(summarise(**run), {}))
    check_accessible(page)
    assert "50% 500 20 0.850 (−0.050; −0.080 to −0.020) 100% 1,000 40 0.900" in page.words


def test_leads_are_ranked_by_uplift_where_the_model_has_it(run):
    assert "Uplift" not in Page(render_report(summarise(**run), {})).words
    run["top_leads"]["uplift"] = [0.2, -0.1]
    html = render_report(summarise(**run), {})
    page = Page(html)
    check_accessible(page)
    assert "by uplift, scored by a model" in page.words
    assert "Id Uplift Probability Plot Outcome" in page.words
    assert "31 +20.0 points 9.8%" in page.words
    assert re.findall(r'style="width:([-\d.]+)%"', html) == ["100.0", "0.0"]


def test_the_page_is_reproducible(plots, run):
    assert render_report(summarise(**run), plots) == render_report(summarise(**run), plots)


def test_outcomes_of_leads_are_final_only_where_the_fold_is_complete(run):
    assert "not yet" in render_report(summarise(**run), {})
    run["metrics"]["folds"][-1]["label_complete"] = True
    assert "not yet" not in render_report(summarise(**run), {})


def test_a_page_without_any_input():
    html = render_report(summarise(config={}, metrics={}, audit={}, threshold=None, facts={}), {})
    assert Page(html).open == []
    assert "None" not in html
    assert "This run has no metrics." in html


def test_missing_numbers_are_dashes(run):
    run["metrics"]["overall"] = {"roc_auc": None, "log_loss": {"value": float("nan"), "low": None, "high": 1}}
    run["metrics"]["baselines"] = {"chance": None, "activity": None}
    html = render_report(summarise(**run | {"top_leads": None}), {})
    assert Page(html).open == []
    assert not re.search(r"\bnan\b|\bNone\b", html)
