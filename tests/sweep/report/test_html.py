"""The report of a sweep, from in-memory studies; and whether optuna-dashboard opens a sweep's study."""

from __future__ import annotations

import base64
import datetime
import hashlib
import html
import json
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import optuna
import pandas as pd
import pytest
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from mlsys.sweep.analysis import Parameter, SweepAnalysis, format_value
from mlsys.sweep.artifacts import write_results
from mlsys.sweep.commands import dashboard_command
from mlsys.sweep.report import summary
from mlsys.sweep.report.html import render_sweep
from mlsys.sweep.report.plots import _log_ticks
from mlsys.sweep.results import SweepResults, link_best
from mlsys.sweep.settings import SweepSettings
from mlsys.sweep.space import parse_space
from mlsys.sweep.study import WorkerLock
from tests.pages import Page, check_accessible
from tests.waiting import HANG, wait_until

MODELS = ("xgboost", "logistic")
SPACE = {"model": "choice(xgboost,logistic)", "encoder": "null, onehot"}
CONDITIONS = {
    "model=xgboost": {"model.max_depth": "range(2,7)", "model.learning_rate": "tag(log,interval(0.01,0.2))"},
    "model=logistic": {"model.C": "tag(log,interval(0.0001,10.0))"},
}
SECTIONS = ("In short", "Before you rely on it", "Search history", "Leaderboard", "Effect of the parameters",
            "Search space and settings", "Next steps")  # fmt: skip


def trial(number, value, state=TrialState.COMPLETE, **attributes):
    """Return a finished trial of the conditional space; its parameters depend only on its number."""
    model = MODELS[number % 2]
    params = {"model": model, "encoder": (None, "onehot")[number % 3 == 0]}
    spaces = {"model": CategoricalDistribution(MODELS), "encoder": CategoricalDistribution((None, "onehot"))}
    if model == "xgboost":
        rate = 0.01 * 1.3 ** (number % 11)
        params |= {"model.max_depth@xgboost": 2 + number % 5, "model.learning_rate@xgboost": rate}
        spaces |= {
            "model.max_depth@xgboost": IntDistribution(2, 6),
            "model.learning_rate@xgboost": FloatDistribution(0.01, 0.2, log=True),
        }
    else:
        params |= {"model.C@logistic": 10.0 ** -(number % 4)}
        spaces |= {"model.C@logistic": FloatDistribution(1e-4, 10.0, log=True)}
    values = None if state is not TrialState.COMPLETE else value if isinstance(value, list) else [value]
    made = create_trial(state=state, values=values, params=params, distributions=spaces, user_attrs=attributes)
    made.datetime_start = datetime.datetime(2026, 11, 25, 12) + datetime.timedelta(seconds=2 * number)
    made.datetime_complete = made.datetime_start + datetime.timedelta(seconds=1 if values is None else 2)
    return made


def results_of(folder, trials, objectives=("log_loss",), n_trials=10, **config):
    """Return the results of a sweep with these trials; each trial has a run directory."""
    directions = ["maximize" if name == "average_precision" else "minimize" for name in objectives]
    study = optuna.create_study(study_name="s", directions=directions)
    study.add_trials(trials)
    folder.mkdir(parents=True)
    for each in study.trials:
        (folder / str(each.number)).mkdir()
        (folder / str(each.number) / "train.log").touch()
        if each.state is not TrialState.FAIL:
            (folder / str(each.number) / "card.md").touch()
    settings = SweepSettings(sampler={"_target_": "optuna.samplers.TPESampler"}, n_trials=n_trials)
    content = {"objective": list(objectives), "search": {"folds": 6, "holdout_folds": 6}, "data": {"name": "demo"}}
    content |= {"hydra": {"runtime": {"choices": {"search": "any_model"}}}} | config
    sweep = SimpleNamespace(
        folder=folder, space=parse_space(SPACE, CONDITIONS, ["seed=1"], {}), config=OmegaConf.create(content),
        workers=1, settings=settings, directions=directions,
    )  # fmt: skip
    return SweepResults(sweep, study.get_trials(), study)


def numbered(trials):
    for number, each in enumerate(trials):
        each.number = number
    return trials


def many(count, *, values=None, pruned=3, failed=7):
    """Return trials of which every third is pruned and every seventh failed."""
    random, trials = np.random.default_rng(0), []
    for number in range(count):
        state = TrialState.COMPLETE
        if pruned and number % pruned == 1:
            state = TrialState.PRUNED
        elif failed and number % failed == 2:
            state = TrialState.FAIL
        error = {"error": "ValueError: <NaN> in the input"} if state is TrialState.FAIL else {}
        value = values(number) if values else 0.0165 + 0.001 * float(random.random()) + 0.001 * (number % 2)
        trials.append(trial(number, value, state, **error))
    return numbered(trials)


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


@pytest.mark.parametrize("held_out", [6, 0])
def test_the_winner_is_shown_with_its_held_out_metrics(tmp_path, monkeypatch, held_out):
    results = results_of(tmp_path / "sweep", many(12), n_trials=12)
    best = results.best
    refit = tmp_path / "sweep" / "refit" / "12" / str(best.number)
    refit.mkdir(parents=True)
    (refit / "report.html").touch()
    link_best(tmp_path / "sweep", refit)
    run = SimpleNamespace(
        config={"search": {"selected_from": 12, "holdout_folds": held_out}},
        metrics={"overall": {"log_loss": {"value": 0.0199, "low": 0.0151, "high": 0.0243}}},
    )
    monkeypatch.setattr(summary.Run, "open", lambda *_, **__: run)
    page = Page(render_sweep(results))
    assert page.links.count("best/report.html") == 2, "in short and in the leaderboard"
    row = f"Log loss {best.value:.5g} 0.0199 0.0151 to 0.0243"
    assert (row in page.words) == bool(held_out)
    assert ("No folds were held out" in page.words) == (not held_out)
    assert ("Report the number measured on the 6 later folds" in page.words) == bool(held_out)


def test_a_winner_of_fewer_trials_is_not_mistaken_for_the_best(tmp_path, monkeypatch):
    results = results_of(tmp_path / "sweep", many(12), n_trials=20)
    other = next(t for t in results.analysis.complete if t.number != results.best.number)
    refit = tmp_path / "sweep" / "refit" / "4" / str(other.number)
    refit.mkdir(parents=True)
    link_best(tmp_path / "sweep", refit)
    run = SimpleNamespace(config={"search": {"selected_from": 4, "holdout_folds": 6}}, metrics={"overall": {}})
    monkeypatch.setattr(summary.Run, "open", lambda *_, **__: run)
    words = Page(render_sweep(results)).words
    assert f"The link “best” still points at trial {other.number}, which was selected from 4 trials." in words


def test_a_winner_of_another_program_links_to_its_folder(tmp_path):
    results = results_of(tmp_path / "sweep", many(3))
    refit = tmp_path / "sweep" / "refit" / "3" / str(results.best.number)
    refit.mkdir(parents=True)
    link_best(tmp_path / "sweep", refit)
    page = Page(render_sweep(results))
    assert "best/" in page.links
    assert "mlsys show" not in page.words


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


def test_a_thousand_trials_are_drawn_in_time(tmp_path):
    trials = many(1000)
    results = results_of(tmp_path / "sweep", trials, n_trials=1000)
    render_sweep(results_of(tmp_path / "first", many(20)))  # imports libraries and builds the font cache
    began = time.process_time()
    text = render_sweep(results)
    assert time.process_time() - began < 6, "about 1.5 s on an idle machine"
    assert len(text) < 1_500_000
    assert len(rows(text)) == sum(each.state is not TrialState.FAIL for each in trials)


def test_plotting_libraries_are_imported_only_for_the_report():
    heavy = "('matplotlib', 'jinja2', 'PIL')"
    code = f"import sys, mlsys.sweep.run, mlsys.sweep.executors; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_error_of_the_report_is_raised_after_the_other_files_are_written(tmp_path, monkeypatch):
    results = results_of(tmp_path / "sweep", many(3))

    def fail(_):
        raise RuntimeError("cannot draw")

    monkeypatch.setattr("mlsys.sweep.report.html.render_sweep", fail)
    with pytest.raises(RuntimeError, match="cannot draw"):
        write_results(results)
    assert (tmp_path / "sweep" / "optimization_results.yaml").exists()
    assert (tmp_path / "sweep" / "trials.parquet").exists()
    assert not (tmp_path / "sweep" / "report.html").exists()


def test_importances_find_the_parameter_that_matters():
    random, trials = np.random.default_rng(0), []
    for _ in range(60):
        x, y = float(random.random()), float(random.random())
        spaces = dict.fromkeys(("a.x", "a.y"), FloatDistribution(0.0, 1.0))
        trials.append(create_trial(value=(x - 0.3) ** 2 + 0.001 * y, params={"a.x": x, "a.y": y}, distributions=spaces))
    importances = SweepAnalysis(numbered(trials), ["loss"], ["minimize"]).importances()
    assert list(importances.values) == ["x", "y"]
    assert importances.values["x"] > 0.7
    assert sum(importances.values.values()) == pytest.approx(1)


def test_ranges_that_differ_between_trials_are_merged():
    trials = [
        create_trial(value=1.0, params={"x": 2.0}, distributions={"x": FloatDistribution(low, high)})
        for low, high in ((1.0, 3.0), (2.0, 9.0))
    ]
    (parameter,) = SweepAnalysis(numbered(trials), ["v"], ["minimize"]).parameters
    assert parameter.axis_limits == (1.0, 9.0)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.01, 0.2, [0.01, 0.02, 0.05, 0.1, 0.2]),
        (1e-4, 10.0, [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]),
        (0.6, 0.9, [0.6, 0.9]),
        (4.0, 64.0, [5.0, 10.0, 20.0, 50.0]),
    ],
)
def test_log_axes_have_round_ticks(low, high, ticks):
    assert _log_ticks(low, high) == pytest.approx(ticks)


def test_a_single_value_has_an_axis_too():
    assert Parameter("x", "x", FloatDistribution(2.0, 2.0, log=True)).fraction(2.0) == pytest.approx(0.5, abs=0.05)
    assert Parameter("x", "x", IntDistribution(3, 3)).fraction(3) == 0.5
    assert format_value(0.1 + 0.2) == "0.3"


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def get_json(url, process):
    """Return a server's JSON response, waiting until it responds."""

    def response():
        try:
            with urllib.request.urlopen(url, timeout=HANG) as body:
                return json.load(body)
        except urllib.error.URLError:
            return None

    return wait_until(response, f"a response from {url}", process=process, pause=0.2)


@pytest.mark.slow
def test_optuna_dashboard_opens_the_study_of_a_running_sweep(open_study):
    program = Path(sys.executable).with_name("optuna-dashboard")
    if not program.exists():
        pytest.skip("optuna-dashboard is not installed: pip install 'mlsys[dev]'")
    shared = open_study()
    with WorkerLock(shared.folder) as worker:
        for value in (0.5, None, 0.25):
            each = shared.claim(worker.name)
            each.suggest_float("x", 0.0, 1.0)
            shared.study.tell(each, value, TrialState.COMPLETE if value else TrialState.PRUNED)
        shared.claim(worker.name)
        command = shlex.split(dashboard_command(shared.folder))
        port = free_port()
        process = subprocess.Popen(
            [str(program), *command[1:], "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            host = f"http://127.0.0.1:{port}/api/studies"
            (study,) = get_json(host, process)["study_summaries"]
            shown = get_json(f"{host}/{study['study_id']}?after=0", process)["trials"]
        finally:
            process.terminate()
            process.wait()
    assert study["study_name"] == shared.folder.name
    assert [(each["number"], each["state"], each.get("values")) for each in shown] == [
        (0, "Complete", [0.5]), (1, "Pruned", None), (2, "Complete", [0.25]), (3, "Running", None),
    ]  # fmt: skip
