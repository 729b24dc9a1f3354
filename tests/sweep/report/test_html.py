"""The report page of a sweep, from studies in memory."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import sys
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from mlsys.sweep.artifacts import write_results
from mlsys.sweep.report.html import render_sweep
from mlsys.sweep.settings import SweepSettings
from tests.pages import Page, check_accessible
from tests.sweep.studies import many, numbered, results_of, trial

SECTIONS = ("In short", "Before you rely on it", "Search history", "Leaderboard", "Effect of the parameters",
            "Search space and settings", "Next steps")  # fmt: skip


@pytest.fixture(scope="module")
def swept_page(tmp_path_factory):
    """The results of 60 trials with all outcomes, and their page."""
    results = results_of(tmp_path_factory.mktemp("page") / "sweep", many(60), n_trials=60)
    return results, render_sweep(results)


def images(page, words):
    return [image for image in page.all("img") if words in image["alt"]]


def rows(page_text):
    body = re.search(r'<table class="compact sortable">.*?<tbody>(.*?)</tbody>', page_text, re.DOTALL).group(1)
    return re.findall(r"<tr.*?</tr>", body, re.DOTALL)


def test_the_page_has_all_sections(swept_page):
    results, text = swept_page
    page = Page(text)
    assert all(part in page.words for part in SECTIONS)
    assert len(images(page, "Optimisation history: 34 trials complete, 20 pruned, 6 failed.")) == 1
    assert len(images(page, "Parameter importances for the objective")) == 1
    assert len(images(page, "Parallel coordinates of")) == 3, "one for all trials and one per condition"
    assert len(images(page, ", searched over ")) == 5, "one slice per parameter"
    assert images(page, "Pareto front of") == []
    assert "60 of 60 trials finished: 34 complete, 20 pruned, 6 failed." in page.words
    assert "60 trials in search of the lowest log loss, averaged over 6 folds." in page.words
    assert f"The best trial is number {results.best.number}:" in page.words
    assert "The best of 60 trials was partly lucky" in page.words
    assert "pruning saved about 20 s of work" in page.words


def test_the_page_is_self_contained(swept_page):
    _, text = swept_page
    page = Page(text)
    assert page.open == []
    assert not re.search(r"@import|url\(|https?://|\bfetch\(|XMLHttpRequest|\bimport\(", text)
    assert not any(re.match(r"[a-z]+:(?!image/png|,)|/", link) for link in page.links), (
        "only data URLs and relative links"
    )
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.all("meta")[1]["content"]
    assert policy == (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"), (
        "only the page's own script may run"
    )
    assert len(page.all("script")) == 1
    assert len(text) < 600_000


def test_the_page_is_accessible_and_has_a_dark_mode(swept_page):
    _, text = swept_page
    page = Page(text)
    check_accessible(page)
    regions = [tag for _, tag in page.tags if tag.get("role") == "region"]
    assert len(regions) >= 4
    assert all(tag.get("tabindex") == "0" for tag in regions), "scrollable regions are reachable by keyboard"
    assert "prefers-color-scheme: dark" in text
    assert "max-width: 560px" in text


def test_the_leaderboard_ranks_complete_trials_and_links_to_their_runs(swept_page):
    results, text = swept_page
    linked = [
        re.search(r'<th scope="row"[^>]*data-key="(\d+)">\s*<a href="([^"]+)"', row).groups() for row in rows(text)
    ]
    ranked = sorted((t for t in results.trials if t.state is TrialState.COMPLETE), key=lambda t: (t.value, t.number))
    pruned = [t.number for t in results.trials if t.state is TrialState.PRUNED]
    assert [int(number) for number, _ in linked] == [*(t.number for t in ranked), *pruned]
    links = [href for _, href in linked] + re.findall(r'href="(\d+/[^"]*)"', text)
    assert {f"{number}/" for number in range(60)} - {f"{t}/" for t in results.analysis.failed} >= {h for _, h in linked}
    assert all((results.sweep.folder / unquote(href)).exists() for href in links)
    assert all(f"{t.number}/card.md" in links for t in ranked)
    first = rows(text)[0]
    assert f'data-key="{ranked[0].value!r}">{ranked[0].value:.5g}<' in first
    assert '<tr class="pruned">' in rows(text)[-1]
    assert rows(text)[-1].count('data-key=""') >= 2, "no value, and no parameter of another model"


def test_failures_show_reasons_and_link_to_logs(swept_page):
    _, text = swept_page
    section = text[text.index('<h2 id="failures">') : text.index('<h2 id="space">')]
    assert html.escape("ValueError: <NaN> in the input") in section
    assert re.findall(r'href="([^"]+)"', section) == [f"{n}/train.log" for n in (2, 9, 23, 30, 44, 51)]


def test_the_space_lists_ranges_and_conditions(swept_page):
    results, text = swept_page
    words = Page(text).words
    assert "model.max_depth model=xgboost integers 2 to 6 30" in words
    assert "model.C model=logistic 0.0001 to 10, log scale" in words
    assert "encoder one of null, onehot 60" in words
    assert "seed=1" in words
    assert f"optuna-dashboard sqlite:///{results.sweep.folder}/study.db" in words
    assert f"hydra.sweep.dir={results.sweep.folder}" in words


STAGES = {
    "empty": lambda: [],
    "one": lambda: numbered([trial(0, 0.5)]),
    "two": lambda: numbered([trial(0, 0.5), trial(1, 0.4)]),
    "pruned": lambda: [trial(n, 0.0, TrialState.PRUNED) for n in range(6)],
    "failed": lambda: [trial(n, 0.0, TrialState.FAIL, error="MemoryError: no message") for n in range(4)],
    "equal": lambda: many(40, values=lambda _: 0.25),
    "zero": lambda: many(20, values=lambda _: 0.0),
    "far": lambda: many(40, values=lambda number: 1e6 if number == 3 else 0.01 + number * 1e-5),
    "negative": lambda: many(20, values=lambda number: -1.0 - number),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_sweep_in_any_state_has_a_page(tmp_path, stage):
    trials = STAGES[stage]()
    results = results_of(tmp_path / "sweep", trials, n_trials=50)
    write_results(results)
    page = Page((tmp_path / "sweep" / "report.html").read_text())
    check_accessible(page)
    assert f"Incomplete: {len(trials)} of 50 trials finished" in page.words
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", page.words)
    assert len(pd.read_parquet(tmp_path / "sweep" / "trials.parquet")) == len(trials)
    complete = sum(each.state is TrialState.COMPLETE for each in trials)
    assert len(images(page, ", searched over ")) == (0 if not complete else 4 if stage == "one" else 5)
    expected = {
        "empty": "No trial is complete or pruned yet.",
        "one": "estimate importances: 1 of at least 15.",
        "two": "estimate importances: 2 of at least 15.",
        "pruned": "No trial is complete, so there is no best trial.",
        "failed": "MemoryError: no message",
        "equal": "Too many trials have the same value to estimate importances.",
        "zero": "have the same value: the searched parameters made no difference",
        "far": "Optuna's estimate",
        "negative": "Too few complete trials",
    }
    assert expected[stage] in page.words


def test_several_objectives_show_the_pareto_front(tmp_path):
    random = np.random.default_rng(1)
    trials = numbered([trial(n, [float(v) for v in random.random(2)]) for n in range(40)])
    results = results_of(tmp_path / "sweep", trials, objectives=("log_loss", "average_precision"), n_trials=40)
    text = render_sweep(results)
    page = Page(text)
    front = {
        one.number for one in trials
        if not any(t.values[0] <= one.values[0] and t.values[1] >= one.values[1] and t is not one for t in trials)
    }  # fmt: skip
    assert set(results.analysis.pareto_front) == front
    assert {t.number for t in results.study.best_trials} == front, "Optuna agrees"
    assert f"{len(front)} trials are on the Pareto front: no other trial is better in one objective" in page.words
    assert len(images(page, f"Pareto front of log_loss and average_precision: {len(front)} of 40 trials")) == 1
    assert sum("Pareto-optimal</a>" in row for row in rows(text)) == len(front)
    assert "the lowest log loss and the highest average precision" in page.words
    best = max(trials, key=lambda t: t.values[1])
    assert f"{best.values[1]:.4g} trial {best.number}; higher is better" in page.words


def test_a_retried_trial_counts_once(tmp_path):
    trials = many(12, failed=0)
    trials[3] = trial(3, 0, TrialState.FAIL)
    trials[5].user_attrs["retry_of"] = [3]
    results = results_of(tmp_path / "sweep", numbered(trials), n_trials=12)
    words = Page(render_sweep(results)).words
    assert "Incomplete: 11 of 12 trials finished" in words
    assert "7 complete, 4 pruned, 0 failed" in words


def test_runs_on_another_machine_are_not_linked(tmp_path):
    results = results_of(tmp_path / "sweep", many(3, pruned=0, failed=0), n_trials=3)
    for path in (tmp_path / "sweep" / "1").iterdir():
        path.unlink()
    (tmp_path / "sweep" / "1").rmdir()
    links = Page(render_sweep(results)).links
    assert "0/" in links
    assert "1/" not in links


def test_a_run_in_another_folder_is_linked(tmp_path):
    results = results_of(tmp_path / "sweep", [trial(0, 0.1, job={"run": str(tmp_path / "a b" / "0")})])
    (tmp_path / "sweep" / "0").rename(tmp_path / "moved")
    (tmp_path / "a b" / "0").mkdir(parents=True)
    assert "../a%20b/0/" in Page(render_sweep(results)).links


def test_names_and_errors_are_escaped(tmp_path):
    evil = "</script><script>alert(1)</script>"
    params, spaces = {evil: evil}, {evil: CategoricalDistribution((evil, "x"))}
    bad = create_trial(value=1.0, params=params, distributions=spaces)
    failed = create_trial(state=TrialState.FAIL, params=params, distributions=spaces, user_attrs={"error": evil})
    text = render_sweep(results_of(tmp_path / "sweep", numbered([bad, failed]), data={"name": evil}))
    page = Page(text)
    assert page.open == []
    assert len(page.all("script")) == 1
    assert text.count("alert(1)") == text.count("alert(1)&lt;/script&gt;")


def test_the_page_contains_no_password(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "mlsys.train", "data.url=postgres://ann:s3cret@h/crm"])
    results = results_of(tmp_path / "sweep", many(3))
    results.sweep.settings = SweepSettings(
        sampler={"_target_": "optuna.samplers.TPESampler"}, storage="postgresql+psycopg://bob:s3cret@h/studies",
        study_name="s",
    )  # fmt: skip
    text = render_sweep(results)
    assert "s3cret" not in text
    assert "postgres://ann:***@h/crm" in text


def test_a_thousand_trials_fit_on_a_page(tmp_path):
    trials = many(1000)
    results = results_of(tmp_path / "sweep", trials, n_trials=1000)
    text = render_sweep(results)
    assert len(text) < 1_500_000
    assert len(rows(text)) == sum(each.state is not TrialState.FAIL for each in trials)
