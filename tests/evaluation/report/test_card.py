import io

import pandas as pd
import pytest
from rich.console import Console
from rich.markdown import Markdown

from mlsys.evaluation.report.card import render_card
from mlsys.evaluation.report.pages import code_span, escape_markdown


def test_the_card_says_what_a_reader_needs(run):
    card = render_card(**run)
    for fact in (
        "# Model card: catboost on hubspot",
        "predicts which accounts become a paying customer within 30 days.",
        "| ROC-AUC | 0.901 | 0.860 to 0.940 | 0.770 | 0.500 |",
        "Of the 10 accounts that it ranks first on a test date, 0.67 are converters on average",
        "(95% interval 0.33 to 1.3)",
        "ranking by activity finds 1.0, picking at random finds 0.022",
        "ROC-AUC: better than ranking by activity",
        "Average precision: cannot be told apart from ranking by activity",
        "A probability of 2.1% or more counts as a yes. It was chosen so that about 50 in each fold reach it.",
        "4.0% of them were converters: 19% of all converters",
        "Leakage audit: **warn**. 1 of 2 checks passed",
        "| missingness | **warn** | EMPLOYEE_RANGE differs. |",
        "Refitted on all complete rows; the numbers are the backtest's.",
        r"| 2020-04-27\* | 400 | 6 |",
        r"\* Outcomes incomplete: not all converters are known yet.",
        "In the test rows with known outcomes 50 accounts a fold reached it",
        "Probabilities: as they came, the scores were off by 0.0512; after calibration by 0.0010.",
        "Outcomes are incomplete in 2020-04-27",
        "The test rows hold only 18 converters",
        r"| customers | mrr | warn | 4 | MRR \<= 0 \| kept |",
        "`data=hubspot sampler=smotenc model=catboost seed=7`",
        "`mlsys replay outputs/2026-11-20/18-05-42`",
        "`mlsys show outputs/2026-11-20/18-05-42`",
    ):
        assert fact in card


def test_every_table_is_well_formed(run):
    tables = [block for block in render_card(**run).split("\n\n") if block.startswith("| ")]
    assert len(tables) == 5
    for table in tables:
        cells = {line.replace("\\|", "").count("|") for line in table.splitlines()}
        assert len(cells) == 1, table


def test_a_narrow_terminal_cuts_no_fold(run):
    buffer = io.StringIO()
    Console(file=buffer, width=80).print(Markdown(render_card(**run)))
    folds = buffer.getvalue().partition("Fold by fold")[2].partition("The operating threshold")[0]
    assert "…" not in folds
    assert "2020-02-24" in folds


def test_plain_words_keep_no_escapes(run):
    assert "with reference.json before" in render_card(**run)


def test_what_calibration_left_alone_is_not_told(run):
    run["metrics"]["calibration"] = {"before": {"ece": 0.001}, "after": {"ece": 0.0009}}
    assert "after calibration" not in render_card(**run)


def test_a_value_that_nobody_knows_has_no_row(run):
    assert "Revenue" not in render_card(**run)


def test_folds_with_known_outcomes_have_no_footnote(run):
    for fold in run["metrics"]["folds"]:
        fold["label_complete"] = True
    card = render_card(**run)
    assert "incomplete" not in card
    assert "In the test rows 50 accounts" in card


def test_a_check_that_does_not_apply_has_not_passed(run):
    message = "Does not apply: the split is by time."
    run["audit"]["checks"].append(
        {"name": "groups", "status": "pass", "value": None, "limit": None, "message": message}
    )
    assert "1 of 2 checks passed (1 more does not apply): read the warnings" in render_card(**run)


def test_the_data_are_named_with_their_place(run):
    run["facts"]["source"] = "/data/crm"
    assert "| Data | hubspot in /data/crm |" in render_card(**run)


def test_the_card_repeats(run):
    assert render_card(**run) == render_card(**run)


def test_a_worse_model_is_called_worse(run):
    run["metrics"]["versus_activity"]["roc_auc"] = {"value": -0.1, "low": -0.2, "high": -0.01}
    assert "ROC-AUC: worse than ranking by activity" in render_card(**run)


def test_without_activity_its_column_is_gone(run):
    run["metrics"] |= {"baselines": {"chance": {"roc_auc": 0.5}, "activity": {}}, "versus_activity": {}}
    card = render_card(**run)
    assert "| Metric | This model | 95% interval | Chance | What it says |" in card
    assert "activity" not in card.casefold()


def test_a_split_without_time_is_told_by_fold_number(run):
    run["config"]["choices"]["split"] = "group_kfold"
    run["metrics"]["folds"] = [fold | {"as_of": None} for fold in run["metrics"]["folds"][:1]]
    card = render_card(**run)
    assert "| fold 0 | 400 | 6 |" in card
    assert "on a test date" not in card
    assert "the backtest's" not in card
    assert "All numbers come from one split" in card


@pytest.mark.parametrize(
    ("threshold", "text"),
    [
        (None, "No threshold was chosen"),
        ({"threshold": 0.5, "method": "f_beta", "parameters": {"beta": 2.0}}, "where F-beta is highest, with beta 2 "),
        (
            {
                "threshold": 0.5,
                "method": "cost",
                "parameters": {"false_negative": 20.0, "true_negative": 0.0, "elkan": 0.1},
            },
            "where the total cost is lowest, with false negative 20.",
        ),
        ({"threshold": 0.5, "method": "own", "parameters": {}}, "chosen by own. None of the test rows reached it."),
        ({"threshold": 0.5, "precision": 0.1, "recall": None}, "10% of them were converters."),
    ],
)
def test_the_threshold_is_explained(run, threshold, text):
    assert text in render_card(**run | {"threshold": threshold})


def test_nearly_nothing_known_still_makes_a_card():
    card = render_card(config={}, metrics={}, audit={}, threshold=None, facts={})
    assert card.startswith("# Model card: model\n")
    assert "The leakage audit did not run" in card
    assert "`mlsys replay RUN`" in card


def test_missing_numbers_are_dashes(run):
    run["metrics"]["overall"] = {"roc_auc": None, "precision@10": {"value": float("nan")}}
    card = render_card(**run)
    assert "| ROC-AUC | – |  |" in card
    assert "nan" not in card.casefold()
    assert "None" not in card


def test_markup_in_the_data_stays_text(run):
    run["facts"] |= {"data": "<script>|x", "target": "*win* [a](b)"}
    run["audit"]["checks"][1]["message"] = "column <html>\nwins | `x`"
    card = render_card(**run | {"top_leads": pd.DataFrame()})
    assert r"\<script>\|x" in card
    assert r"\*win\* \[a](b)" in card
    assert r"column \<html> wins \| \`x\`" in card


def test_escapes():
    assert escape_markdown(r"a\b") == r"a\\b"
    assert escape_markdown("_a_ a_b") == r"\_a\_ a_b"
    assert code_span("plain") == "`plain`"
