"""What a report says about the choice of its model."""

import io

import pytest

from mlsys.evaluation.report.card import render_card
from mlsys.evaluation.report.html import render_report
from mlsys.evaluation.report.selection_rows import selection_text
from mlsys.evaluation.report.summary import summarise
from mlsys.evaluation.report.terminal import candidate_table
from mlsys.terminal import Terminal


def candidate(name, value, status="finished", reason="", folds=6, **difference):
    entry = {"value": 0.01, "low": -0.01, "high": 0.03} | difference if name != "xgboost" else None
    return {"name": name, "status": status, "reason": reason, "folds": folds, "value": value, "difference": entry,
            "seconds": 1.25}  # fmt: skip


@pytest.fixture
def record():
    return {
        "objective": "log_loss",
        "minutes": 1.0,
        "seconds": 40.0,
        "folds": [{"as_of": None, "rows": 100, "positives": 10}] * 6,
        "chosen": {"xgboost": 1.0},
        "best": "xgboost",
        "candidates": [
            candidate("broken", None, "failed", "fold 0: it\n  broke.", folds=0),
            candidate("slow", 0.2, "no time", "no time for more folds; number 3 after 1 fold", folds=1),
            candidate("logistic", 0.31),
            candidate("xgboost", 0.3),
        ],
        "blend": None,
        "optimism": {"folds": 6, "value": 0.3, "nested": 0.304},
    }


def text(record):
    return selection_text(record, "95%")


def test_those_that_got_furthest_come_first(record):
    rows = text(record).rows
    assert [row.name for row in rows] == ["xgboost", "logistic", "slow", "broken"]
    assert (rows[0].value, rows[0].difference, rows[0].weight) == ("0.3000", "–", "100%")
    assert (rows[1].difference, rows[1].interval, rows[1].weight) == ("+0.0100", "−0.0100 to +0.0300", "")
    assert rows[3].note == "failed: fold 0: it broke."


def test_optimism_is_said_in_the_direction_of_the_objective(record):
    assert "choosing makes the value look better by 0.0040." in text(record).optimism
    higher = record | {"objective": "roc_auc", "optimism": {"folds": 6, "value": 0.81, "nested": 0.8}}
    assert "was 0.810, but 0.800 if" in text(higher).optimism
    assert "look better by 0.010." in text(higher).optimism
    same = record | {"optimism": {"folds": 6, "value": 0.3, "nested": 0.3}}
    assert text(same).optimism.endswith("choosing hardly flatters the value.")
    assert text(record | {"optimism": None}).optimism.startswith("One fold is too few")


def test_blends_that_are_better_are_told_from_those_that_are_left_out(record):
    members, entry = {"xgboost": 0.7, "logistic": 0.3}, {"value": -0.01, "low": -0.02, "high": 0.001}
    blend = {"members": members, "difference": entry, "chosen": True}
    chosen = text(record | {"blend": blend, "chosen": blend["members"]})
    assert "chose a blend of xgboost (70%) and logistic (30%) among 4 candidates, by log loss" in chosen.chosen
    assert chosen.blend.startswith("Blends were better than single candidates by more than a standard error")
    left_out = text(record | {"blend": blend | {"chosen": False}})
    assert "is left out: not better by more than a standard error" in left_out.blend
    assert "difference in log loss −0.0100, 95% interval −0.0200 to +0.0010" in left_out.blend


def test_what_was_not_tried_is_said(record):
    assert text(record).untried.startswith("There was no time for further folds of slow:")
    enough = record | {"candidates": record["candidates"][2:]}
    assert text(enough).untried == ""
    stopped = [candidate("xgboost", 0.3, reason="no time for 5 more of 6 folds", folds=1)]
    assert text(record | {"candidates": stopped}).untried.startswith("There was no time for further folds:")


def test_card_and_report_have_the_table(run, record):
    config = run["config"] | {"selection": {"chosen": ["xgboost"], "candidates": {"a": {}, "b": None}, "folds": 6}}
    config |= {"choices": run["config"]["choices"] | {"model": "auto"}}
    summary = summarise(**run | {"config": config}, selection=record)
    assert summary.title.startswith("auto: xgboost on ")
    assert "The model was chosen by model=auto among 1 candidate." in summary.verdict
    for page in (render_card(summary), render_report(summary, {})):
        assert page.count("How the model was chosen") == 1
        assert "no time for more folds; number 3 after 1 fold" in page
    assert "How the model was chosen" not in render_card(summarise(**run))


def test_the_terminal_shows_the_first_candidates(record):
    record["candidates"] += [candidate(f"further {number}", 0.5) for number in range(3)]
    buffer = io.StringIO()
    Terminal(file=buffer, width=100).print(candidate_table(text(record)))
    lines = buffer.getvalue().splitlines()
    assert lines[1].split() == ["candidate", "Log", "loss", "minus", "xgboost", "folds", "weight"]
    assert lines[2].split() == ["xgboost", "0.3000", "6", "100%"]
    assert "2 more candidates in report.html" in lines[-1]
