"""The warning that boosting ended at its limit: in the log, on the terminal and in the card, and only where it did."""

import pytest

from mlsys.evaluation.caps import cap_warning
from mlsys.evaluation.report.card import render_card
from mlsys.evaluation.report.summary import summarise
from mlsys.pipeline.choosing import Cap, Choice

MET = Choice(cap=Cap("iterations", 200))
VOTE = Choice(members={"members.trees": Choice(cap=Cap("n_estimators", 50)), "members.linear": Choice()})


@pytest.mark.parametrize(
    ("folds", "final", "where"),
    [
        ([MET, MET], Choice(), "in 2 of 2 folds, before"),
        ([MET, Choice()], MET, "in 1 of 2 folds and the final model, before"),
        ([Choice()], MET, "in the final model, before"),
        ([MET], None, "in 1 of 1 fold, before"),
    ],
)
def test_it_says_where_and_names_the_way_out(folds, final, where):
    warning = cap_warning(folds, final)
    assert f"Boosting ended at model.iterations=200 {where}" in warning
    assert warning.endswith("Set model.iterations=800, or a higher model.learning_rate.")


def test_there_is_none_where_early_stopping_found_the_number():
    assert cap_warning([Choice(90, {"iterations": 90}), Choice()], Choice(values={"C": 0.01})) == ""


def test_a_members_limit_is_named_by_its_own_key():
    assert "Set model.members.trees.n_estimators=200, or a higher model.members.trees.learning_rate." in cap_warning(
        [VOTE]
    )


@pytest.mark.parametrize("warning", ["", cap_warning([MET])])
def test_the_card_shows_the_warning_and_what_was_chosen(warning):
    facts = {"data": "leads", "cap_warning": warning, "chosen": "C=0.03"}
    summary = summarise(config={"choices": {"model": "logistic"}}, metrics={}, audit={}, threshold=None, facts=facts)
    card = render_card(summary)
    assert ("Boosting ended at" in card) == bool(warning)
    assert "| Chosen for the saved model | C=0.03 |" in card
