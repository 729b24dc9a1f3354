"""The sentences of a run's verdict, with 0, 1 and 2 of everything that is counted."""

import pytest

from mlsys.evaluation.report.verdict import verdict


def sentences(*, precision=0.1, k=10, rows=400, search=None, objective="log_loss", level="95%"):
    folds = [{"as_of": as_of, "rows": rows} for as_of in ("2020-02-24", "2020-03-23")]
    metrics = {"overall": {f"precision@{k}": precision}, "folds": folds}
    return list(verdict({"search": search or {}, "objective": objective}, metrics, "accounts", "converters", level))


@pytest.mark.parametrize(
    ("precision", "hits"),
    [(0, "0.0"), (0.067, "0.67"), (0.0999999, "1.0"), (0.1, "1.0"), (0.2, "2.0"), (0.995, "10"), (1, "10")],
)
def test_the_number_of_hits_in_the_top_k(precision, hits):
    expected = f"The top 10 accounts on a test date include {hits} converters on average."
    assert sentences(precision=precision) == [expected]


def test_the_top_1():
    assert sentences(k=1) == ["The top 1 of the accounts on a test date includes 0.1 converters on average."]


def test_a_list_longer_than_a_fold_is_not_counted():
    assert len(sentences(k=10, rows=10)) == 1
    assert sentences(k=10, rows=9) == []


@pytest.mark.parametrize(
    ("number", "trials", "folds", "later"),
    [(1, "1 configuration", "1 fold", "1 later fold"), (2, "2 configurations", "2 folds", "2 later folds")],
)
def test_the_search(number, trials, folds, later):
    search = {"selected_from": number, "folds": number, "holdout_folds": number}
    assert sentences(search=search)[1:] == [
        f"Selected from {trials} tried in a search, by log loss on {folds}.",
        f"The metrics here are from {later} that the search did not use.",
    ]
    optimistic = sentences(search=search | {"holdout_folds": 0}, objective=["log_loss", "predict_ms"])
    assert optimistic[1].endswith(f"by log loss and prediction time on {folds}.")
    assert "so they are optimistic" in optimistic[2]


def test_without_a_search_there_is_no_sentence_about_it():
    assert len(sentences(search={"selected_from": 0, "folds": 2})) == 1
