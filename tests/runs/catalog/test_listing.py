from dataclasses import replace

import pytest

from mlsys.errors import RunError
from mlsys.runs.catalog.listing import list_runs


def set_created(run, created):
    (run.path / "manifest.json").write_text(replace(run.manifest, created=created).to_text())


def test_a_row_has_choices_metrics_and_time(make_run, tmp_path):
    choices = {"model": "catboost", "sampler": "smotenc", "features": "usage", "data": "demo", "split": "backtest"}
    run = make_run(tmp_path / "outputs" / "a" / "b", choices=choices, roc_auc=0.75)
    (row,) = list_runs(tmp_path)
    assert {name: getattr(row, name) for name in choices} == choices
    assert (row.path, row.created, row.status) == (run.path, run.manifest.created, "complete")
    assert row.metrics == {"roc_auc": 0.75}
    assert (row.audit, row.seconds) == ("pass", 2.0)


@pytest.mark.parametrize(
    "text",
    [
        "a:\n  choices: {model: no}\nchoices:\n  model: xgboost\n  sampler: none\nmodel:\n  depth: 3\n",
        "choices: {model: xgboost,\n  sampler: none}\nmodel: no\n",
        "{choices: {model: xgboost, sampler: none}, model: no}",
        "model: no\n'choices': {model: xgboost, sampler: none}",
    ],
)
def test_choices_in_every_yaml_style(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    (row,) = list_runs(tmp_path)
    assert (row.model, row.sampler, row.data) == ("xgboost", "none", None)


def test_runs_of_outputs_and_sweeps_newest_first(make_run, tmp_path):
    set_created(make_run(tmp_path / "outputs" / "a" / "b"), "2026-01-01T00:00:00.000+00:00")
    set_created(make_run(tmp_path / "multirun" / "a" / "b" / "0", status="pruned"), "2026-01-03T00:00:00.000+00:00")
    set_created(make_run(tmp_path / "multirun" / "a" / "b" / "1", status="failed"), "2026-01-02T00:00:00.000+00:00")
    (tmp_path / "multirun" / "a" / "b" / "best").symlink_to("1")
    (tmp_path / "multirun" / "a" / "b" / "train.log").touch()
    make_run(tmp_path / "elsewhere")
    rows = list_runs(tmp_path)
    assert [row.path.name for row in rows] == ["0", "1", "b"]
    assert [row.status for row in rows] == ["pruned", "failed", "complete"]
    assert [row.path.name for row in list_runs(tmp_path / "multirun" / "a" / "b")] == ["0", "1"]
    assert [row.path.name for row in list_runs(tmp_path / "elsewhere")] == ["elsewhere"]


@pytest.mark.parametrize(("trace", "model"), [("config.yaml", "xgboost"), ("train.log", None)])
def test_a_run_without_a_manifest_is_incomplete(tmp_path, trace, model):
    folder = tmp_path / "outputs" / "a" / "b"
    (folder / "plots").mkdir(parents=True)
    (folder / trace).write_text("choices: {model: xgboost}\n")
    (tmp_path / "outputs" / "empty").mkdir()
    (row,) = list_runs(tmp_path)
    assert (row.path, row.status, row.model, row.metrics) == (folder, "incomplete", model, {})


@pytest.mark.parametrize("name", ["manifest.json", "metrics.json", "config.yaml", "audit.json"])
def test_a_damaged_run_is_a_row(make_run, tmp_path, name):
    run = make_run(tmp_path / "outputs" / "a")
    (run.path / name).write_text("{[")
    (row,) = list_runs(tmp_path)
    assert row.status == "damaged"


def test_unexpected_content_gives_empty_cells(make_run, tmp_path):
    run = make_run(tmp_path / "outputs" / "a")
    (run.path / "metrics.json").write_text("[]")
    (run.path / "config.yaml").write_text("- a\n")
    (row,) = list_runs(tmp_path)
    assert (row.status, row.metrics, row.model) == ("complete", {}, None)


def test_files_are_not_hashed(make_run, tmp_path):
    run = make_run(tmp_path / "outputs" / "a")
    (run.path / "card.md").write_text("edited")
    assert list_runs(tmp_path)[0].status == "complete"


def test_an_empty_and_a_missing_folder(tmp_path):
    assert list_runs(tmp_path) == []
    with pytest.raises(RunError, match="Folder not found"):
        list_runs(tmp_path / "nowhere")
