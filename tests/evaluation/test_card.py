import pandas as pd
import pytest

from mlsys.evaluation.card import render_card
from mlsys.evaluation.pages import code_span, escape_markdown


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
        "| 2020-04-27 | 400 | 6 | **incomplete** |",
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
    assert "| fold 0 | 400 | 6 | complete |" in card
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
