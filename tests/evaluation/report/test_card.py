import io

import pandas as pd
import pytest
from rich.console import Console
from rich.markdown import Markdown

from mlsys.evaluation.report.card import render_card
from mlsys.evaluation.report.html import render_report
from mlsys.evaluation.report.pages import code_span, escape_markdown
from mlsys.evaluation.report.summary import summarise
from tests.evaluation.conftest import worse


def test_the_card_has_the_main_facts(run):
    card = render_card(summarise(**run))
    for fact in (
        "# Model card: catboost on hubspot",
        "predicts which accounts become a paying customer within 30 days.",
        "| ROC-AUC | 0.901 | 0.860 to 0.940 | 0.770 | 0.500 |",
        "The top 10 accounts on a test date include 0.67 converters on average (95% interval 0.33 to 1.3), "
        "compared with 1.0 when ranked by activity and 0.022 at random.",
        "ROC-AUC: better than ranking by activity",
        "Average precision: no clear difference from ranking by activity (0.077 vs 0.070; ",
        "A probability of 2.1% or more counts as positive. It was chosen to flag about the top 50 of each fold.",
        "4.0% of them were converters, which is 19% of all converters.",
        "Leakage audit: **warn**. 1 of 2 checks passed",
        "| missingness | **warn** | EMPLOYEE_RANGE differs. |",
        "The metrics are from the backtest",
        r"| 2020-04-27\* | 400 | 6 |",
        r"\* Incomplete outcomes: not all converters are known yet.",
        "On the test rows with known outcomes, an average of 50 accounts per fold reached it",
        "Calibration reduced the calibration error from 0.0512 to 0.0010.",
        "Outcomes are incomplete in 2020-04-27",
        "Few converters in the test rows (18)",
        r"| customers | mrr | warn | 4 | MRR \<= 0 \| kept |",
        "`data=hubspot sampler=smotenc model=catboost seed=7`",
        "`mlsys replay outputs/2026-11-20/18-05-42`",
        "`python -m serve outputs/2026-11-20/18-05-42`",
        "`mlsys show outputs/2026-11-20/18-05-42 --all`",
        "**The model ranks better than activity (ROC-AUC +0.131, 95% interval +0.070 to +0.190): look at the audit",
    ):
        assert fact in card


def test_the_confidence_level_is_the_configured_one(run):
    run["config"]["metrics"] = {"confidence": 0.5}
    card = render_card(summarise(**run))
    assert "50% interval" in card
    assert "95%" not in card


def test_the_card_says_how_models_age(run):
    assert "older" not in render_card(summarise(**run))
    run["metrics"]["by_age"] = [{"days": 56.0, "folds": 4, "metrics": {"roc_auc": worse(-0.08, -0.02)}}]
    assert "Models that were 56 days older had a ROC-AUC of 0.850 instead of 0.900" in render_card(summarise(**run))


def test_outcomes_by_day_are_in_the_card_and_the_report_of_a_model_of_when(run):
    assert "When the outcome comes" not in render_card(summarise(**run)) + render_report(summarise(**run), {})
    run["metrics"]["by_day"] = [
        {"days": 7, "expected": 10.21, "observed": 5},
        {"days": 30, "expected": 1044.48, "observed": 1042},
    ]
    card, report = render_card(summarise(**run)), render_report(summarise(**run), {})
    assert "| Within | Expected converters | Observed |" in card
    assert "| 7 days | 10.2 | 5 |\n| 30 days | 1,044.5 | 1,042 |" in card
    assert '<a href="#by-day">By day</a>' in report
    assert '<td class="number">1,044.5</td>\n<td class="bar"><span aria-hidden="true" style="width:100.0%">' in report
    for page in (card, report):
        assert "refitted on all complete rows, and on younger ones as far as their outcomes are known." in page
        assert "Incomplete rows are used for training only as far as their outcomes are known." in page


@pytest.mark.parametrize(
    ("high", "said"),
    [
        (-0.02, "instead of 0.900 (−0.050, 95% interval −0.080 to −0.020). More data would probably help."),
        (0.02, "instead of 0.900: no clear difference (−0.050, 95% interval −0.080 to +0.020)."),
        (None, "instead of 0.900."),
    ],
)
def test_the_card_says_whether_more_data_would_help(run, high, said):
    assert "half of the data" not in render_card(summarise(**run))
    run["metrics"]["learning_curve"] = [
        {"fraction": 0.5, "rows": 500.0, "positives": 20.0, "metrics": {"roc_auc": worse(-0.08, high)}},
        {"fraction": 1.0, "rows": 1000.0, "positives": 40.0},
    ]
    card = render_card(summarise(**run))
    assert "With half of the data, models had a ROC-AUC of 0.850 instead of 0.900" in card
    assert said in card


def test_every_table_is_well_formed(run):
    tables = [block for block in render_card(summarise(**run)).split("\n\n") if block.startswith("| ")]
    assert len(tables) == 5
    for table in tables:
        cells = {line.replace("\\|", "").count("|") for line in table.splitlines()}
        assert len(cells) == 1, table


def test_a_narrow_terminal_cuts_no_fold(run):
    buffer = io.StringIO()
    Console(file=buffer, width=80).print(Markdown(render_card(summarise(**run))))
    folds = buffer.getvalue().partition("Metrics by fold")[2].partition("The operating threshold")[0]
    assert "…" not in folds
    assert "2020-02-24" in folds


def test_plain_words_keep_no_escapes(run):
    assert "with reference.json before" in render_card(summarise(**run))


def test_a_small_effect_of_calibration_is_not_mentioned(run):
    run["metrics"]["calibration"] = {"before": {"ece": 0.001}, "after": {"ece": 0.0009}}
    assert "Calibration reduced" not in render_card(summarise(**run))


def test_an_undefined_value_metric_has_no_row(run):
    assert "Revenue" not in render_card(summarise(**run))


def test_folds_with_known_outcomes_have_no_footnote(run):
    for fold in run["metrics"]["folds"]:
        fold["label_complete"] = True
    card = render_card(summarise(**run))
    assert "incomplete" not in card
    assert "On the test rows, an average of 50 accounts" in card


def test_a_check_that_does_not_apply_has_not_passed(run):
    message = "Does not apply: the split is by time."
    run["audit"]["checks"].append(
        {"name": "groups", "status": "pass", "value": None, "limit": None, "message": message}
    )
    assert "1 of 2 checks passed (1 more does not apply): read the warnings" in render_card(summarise(**run))


def test_the_data_source_is_named(run):
    run["facts"]["source"] = "/data/crm"
    assert "| Data | hubspot from /data/crm |" in render_card(summarise(**run))


def test_the_card_is_reproducible(run):
    assert render_card(summarise(**run)) == render_card(summarise(**run))


def test_a_worse_model_is_called_worse(run):
    run["metrics"]["versus_activity"]["roc_auc"] = {"value": -0.1, "low": -0.2, "high": -0.01}
    assert "ROC-AUC: worse than ranking by activity" in render_card(summarise(**run))


def test_without_activity_its_column_is_gone(run):
    run["metrics"] |= {"baselines": {"chance": {"roc_auc": 0.5}, "activity": {}}, "versus_activity": {}}
    card = render_card(summarise(**run))
    assert "| Metric | This model | 95% interval | Chance | Meaning |" in card
    assert "activity" not in card.casefold()


def test_folds_without_time_are_named_by_number(run):
    run["config"]["choices"]["split"] = "group_kfold"
    run["metrics"]["folds"] = [fold | {"as_of": None} for fold in run["metrics"]["folds"][:1]]
    card = render_card(summarise(**run))
    assert "| fold 0 | 400 | 6 |" in card
    assert "on a test date" not in card
    assert "the backtest" not in card
    assert "All metrics come from a single split" in card


@pytest.mark.parametrize(
    ("threshold", "text"),
    [
        (None, "No threshold was chosen"),
        ({"threshold": 0.5, "method": "f_beta", "parameters": {"beta": 2.0}}, "to maximise F-beta with beta = 2 "),
        (
            {
                "threshold": 0.5,
                "method": "cost",
                "parameters": {"false_negative": 20.0, "true_negative": 0.0, "elkan": 0.1},
            },
            "to minimise the total cost, with false negative 20.",
        ),
        ({"threshold": 0.5, "method": "own", "parameters": {}}, "chosen by own. None of the test rows reached it."),
        ({"threshold": 0.5, "precision": 0.1, "recall": None}, "10% of them were converters."),
    ],
)
def test_the_threshold_is_explained(run, threshold, text):
    assert text in render_card(summarise(**run | {"threshold": threshold}))


def test_a_card_without_any_input():
    card = render_card(summarise(config={}, metrics={}, audit={}, threshold=None, facts={}))
    assert card.startswith("# Model card: model\n")
    assert "The leakage audit was not run" in card
    assert "`mlsys replay RUN`" in card


def test_missing_numbers_are_dashes(run):
    run["metrics"]["overall"] = {"roc_auc": None, "precision@10": {"value": float("nan")}}
    card = render_card(summarise(**run))
    assert "| ROC-AUC | – |  |" in card
    assert "nan" not in card.casefold()
    assert "None" not in card


def test_markup_in_the_data_stays_text(run):
    run["facts"] |= {"data": "<script>|x", "target": "*win* [a](b)"}
    run["audit"]["checks"][1]["message"] = "column <html>\nwins | `x`"
    card = render_card(summarise(**run | {"top_leads": pd.DataFrame()}))
    assert r"\<script>\|x" in card
    assert r"\*win\* \[a](b)" in card
    assert r"column \<html> wins \| \`x\`" in card


def test_escapes():
    assert escape_markdown(r"a\b") == r"a\\b"
    assert escape_markdown("_a_ a_b") == r"\_a\_ a_b"
    assert code_span("plain") == "`plain`"
