"""The sentences of a sweep's report, and what it says of the winner."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlsys.sweep.report import summary
from mlsys.sweep.report.html import render_sweep
from mlsys.sweep.results import link_best
from tests.pages import Page
from tests.sweep.studies import many, numbered, results_of, trial


@pytest.mark.parametrize(
    ("count", "lead", "progress"),
    [
        (0, "0 trials in search of", "Incomplete: 0 of 2 trials finished (0 complete, 0 pruned, 0 failed)."),
        (1, "1 trial in search of", "1 of 1 trial finished: 1 complete, 0 pruned, 0 failed."),
        (2, "2 trials in search of", "2 of 2 trials finished: 2 complete, 0 pruned, 0 failed."),
    ],
)
def test_sentences_agree_with_the_number_of_trials(tmp_path, count, lead, progress):
    trials = numbered([trial(number, 0.5 + number) for number in range(count)])
    words = Page(render_sweep(results_of(tmp_path / "sweep", trials, n_trials=count or 2))).words
    assert lead in words
    assert progress in words
    assert ("A single trial is not a search." in words) == (count == 1)
    assert ("The best 2 trials range from 0.5 to 1.5" in words) == (count == 2)


@pytest.mark.parametrize(
    ("folds", "text"),
    [(0, ""), (1, "the latest fold, which no trial saw"), (2, "the 2 latest folds, which no trial saw")],
)
def test_sentences_agree_with_the_number_of_held_out_folds(tmp_path, folds, text):
    search = {"folds": 1, "holdout_folds": folds}
    words = Page(render_sweep(results_of(tmp_path / "sweep", many(3), search=search))).words
    assert "averaged over 1 fold." in words
    assert ("which no trial saw" in words) == bool(folds)
    assert text in words


@pytest.mark.parametrize("held_out", [6, 0])
def test_the_winner_is_shown_with_its_held_out_metrics(tmp_path, monkeypatch, held_out):
    results = results_of(tmp_path / "sweep", many(12), n_trials=12)
    best = results.best
    refit = tmp_path / "sweep" / "refit" / "12" / str(best.number)
    refit.mkdir(parents=True)
    (refit / "report.html").touch()
    link_best(tmp_path / "sweep", refit)
    run = SimpleNamespace(
        config={"search": {"selected_from": 12, "holdout_folds": held_out}, "metrics": {"confidence": 0.8}},
        metrics={"overall": {"log_loss": {"value": 0.0199, "low": 0.0151, "high": 0.0243}}},
    )
    monkeypatch.setattr(summary.Run, "open", lambda *_, **__: run)
    page = Page(render_sweep(results))
    assert page.links.count("best/report.html") == 2, "in short and in the leaderboard"
    row = f"Log loss {best.value:.5g} 0.0199 0.0151 to 0.0243"
    assert (row in page.words) == bool(held_out)
    assert ("80% interval on unseen folds" in page.words) == bool(held_out)
    assert ("No folds were held out" in page.words) == (not held_out)
    assert ("Report the number measured on the 6 later folds" in page.words) == bool(held_out)


def test_a_winner_of_fewer_trials_is_not_mistaken_for_the_best(tmp_path, monkeypatch):
    results = results_of(tmp_path / "sweep", many(12), n_trials=20)
    other = next(t for t in results.analysis.complete if t.number != results.best.number)
    refit = tmp_path / "sweep" / "refit" / "4" / str(other.number)
    refit.mkdir(parents=True)
    link_best(tmp_path / "sweep", refit)
    for selected_from, text in ((4, ", which was selected from 4 trials. It is"), (None, ". It is")):
        config = {"search": {"selected_from": selected_from, "holdout_folds": 6}, "metrics": {"confidence": 0.95}}
        run = SimpleNamespace(config=config, metrics={"overall": {}})
        monkeypatch.setattr(summary.Run, "open", lambda *_, run=run, **__: run)
        assert f"The link “best” still points at trial {other.number}{text}" in Page(render_sweep(results)).words


def test_a_winner_of_another_program_links_to_its_folder(tmp_path):
    results = results_of(tmp_path / "sweep", many(3))
    refit = tmp_path / "sweep" / "refit" / "3" / str(results.best.number)
    refit.mkdir(parents=True)
    link_best(tmp_path / "sweep", refit)
    page = Page(render_sweep(results))
    assert "best/" in page.links
    assert "mlsys show" not in page.words
