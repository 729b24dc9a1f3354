import shutil

import pytest

from mlsys.errors import ConfigError, RunError
from mlsys.evaluation import metric_table
from mlsys.evaluation.comparison.candidates import gather
from mlsys.evaluation.metric_table import METRICS
from tests.evaluation.comparison.conftest import predictions


def test_runs_by_path_and_latest(pair, index):
    found = gather(["good", "outputs/poor"], root=pair, index=index)
    assert [one.name for one in found.candidates] == ["good", "poor"]
    assert [one.path for one in found.candidates] == ["outputs/good", "outputs/poor"]
    first = found.candidates[0]
    assert (first.fit_seconds, first.total_seconds, first.model_bytes) == (2.0, 3.0, 2500)
    assert first.predict_ms == 10.0
    everything = gather(["latest", "good", "poor"], root=pair, index=index)
    assert {one.name for one in everything.candidates} == {"good", "poor"}


def test_the_reference_comes_first(pair, index):
    found = gather(["good", "poor"], to="poor", root=pair, index=index)
    assert [one.name for one in found.candidates] == ["poor", "good"]


@pytest.fixture
def sweep(tmp_path, write):
    folder = tmp_path / "multirun" / "sweep"
    for number, skill in enumerate((0.5, 2.5, 1.5)):
        write(folder / str(number), predictions(skill), status="trial", **{"search.trial": number})
    write(folder / "3", status="pruned")
    write(folder / "4", status="failed")
    (folder / "5").mkdir()
    (folder / "5" / "config.yaml").write_text("choices: {model: xgboost}\n")
    write(folder / "refit" / "6" / "1", **{"search.selected_from": 6})
    (folder / "best").symlink_to("refit/6/1")
    return folder


def test_a_sweep_is_its_trials_the_best_first(sweep, tmp_path, index):
    found = gather(["multirun/sweep"], root=tmp_path, index=index)
    assert [one.name for one in found.candidates] == ["1", "2", "0"]
    assert (found.sorted_by, found.selected_from) == ("log_loss", 3)
    reasons = {left.path.rpartition("/sweep/")[2]: left.reason for left in found.left_out}
    assert set(reasons) == {"3", "4", "5", "refit/6/1"}
    assert reasons["3"].startswith("pruned")
    assert reasons["4"].startswith("failed")
    assert "no manifest" in reasons["5"]
    assert "refitted" in reasons["refit/6/1"]
    assert not any(left.named for left in found.left_out)


def test_top_limits_the_runs_of_a_sweep(sweep, tmp_path, index):
    assert [one.name for one in gather([str(sweep)], top=2, root=tmp_path, index=index).candidates] == ["1", "2"]


def test_a_tampered_trial_is_named_and_the_next_one_taken(sweep, tmp_path, index):
    (sweep / "1" / "predictions.parquet").write_bytes(b"x")
    found = gather([str(sweep)], top=2, root=tmp_path, index=index)
    assert [one.name for one in found.candidates] == ["2", "0"]
    assert any(left.path.endswith("sweep/1") and "predictions.parquet" in left.reason for left in found.left_out)


def test_sorting_by_a_metric_where_higher_is_better(tmp_path, write, index):
    for number, skill in enumerate((0.5, 2.5)):
        write(tmp_path / "grid" / str(number), predictions(skill), objective=["average_precision", "predict_ms"])
    found = gather(["grid"], root=tmp_path, index=index)
    assert (found.sorted_by, [one.name for one in found.candidates]) == ("average_precision", ["1", "0"])


def test_a_sweep_optimised_for_speed_alone_is_sorted_by_log_loss(tmp_path, write, index):
    for number, skill in enumerate((0.5, 2.5)):
        write(tmp_path / "grid" / str(number), predictions(skill), objective="predict_ms")
    found = gather(["grid"], root=tmp_path, index=index)
    assert (found.sorted_by, found.candidates[0].name) == ("log_loss", "1")


def test_named_runs_that_are_tampered_or_incomplete_are_named(pair, tmp_path, index):
    shutil.copytree(pair / "outputs", tmp_path / "outputs")
    (tmp_path / "outputs" / "killed").mkdir()
    (tmp_path / "outputs" / "killed" / "train.log").touch()
    shutil.copytree(tmp_path / "outputs" / "poor", tmp_path / "outputs" / "edited")
    (tmp_path / "outputs" / "edited" / "config.yaml").write_text("seed: 4\n")
    found = gather(["good", "edited", "killed", "poor"], root=tmp_path, index=index)
    assert [one.name for one in found.candidates] == ["good", "poor"]
    edited, killed = found.left_out
    assert edited.named
    assert "changed: config.yaml" in edited.reason
    assert killed.named
    assert "incomplete" in killed.reason


def test_too_few_runs(pair, tmp_path, index):
    with pytest.raises(ConfigError, match="2 to 20 different runs"):
        gather(["good", "outputs/good"], root=pair, index=index)
    with pytest.raises(ConfigError, match="2 to 20 different runs"):
        gather([], root=pair, index=index)
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "config.yaml").touch()
    with pytest.raises(RunError, match=r"killed: incomplete"):
        gather([str(pair / "outputs" / "good"), "killed"], root=tmp_path, index=index)


def test_too_many_runs(tmp_path, write, index):
    rows = predictions(1.0, entities=20)
    for number in range(21):
        write(tmp_path / "a" / str(number), rows, **{"metrics.bootstrap_resamples": 0})
    with pytest.raises(ConfigError, match="21 runs"):
        gather(["a"], top=21, root=tmp_path, index=index)
    assert len(gather(["a"], top=20, root=tmp_path, index=index).candidates) == 20


def test_an_unknown_run_suggests_the_closest(pair, index):
    with pytest.raises(RunError, match="outputs/good"):
        gather(["good", "outputs/goood"], root=pair, index=index)


def test_a_failed_run_is_left_out(pair, tmp_path, write, index):
    write(tmp_path / "failed", status="failed")
    found = gather([str(pair / "outputs/good"), str(pair / "outputs/poor"), "failed"], root=tmp_path, index=index)
    assert [(left.named, left.reason) for left in found.left_out] == [(True, "failed: no metrics")]


def test_metrics_of_another_version_are_left_out_and_named(tmp_path, write, index, monkeypatch, caplog):
    write(tmp_path / "old")
    write(tmp_path / "new")
    monkeypatch.setattr(metric_table, "METRICS", {name: row for name, row in METRICS.items() if name != "brier"})
    first, second = gather(["old", "new"], root=tmp_path, index=index).candidates
    assert "brier" not in first.metrics["overall"]
    assert "roc_auc" in second.metrics["overall"]
    assert "old has metrics that are not in the metric table, left out: brier" in caplog.text
