"""`mlsys compare` and `mlsys runs`: output, files and exit codes."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation.comparison.conftest import pair, predictions, write  # noqa: F401 - fixtures
from tests.waiting import HANG


@pytest.fixture
def work(pair, tmp_path, monkeypatch) -> Path:  # noqa: F811
    shutil.copytree(pair / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_runs(mlsys, work):
    code, out, err = mlsys("compare", "good", "poor", "--html", "pages/c.html", "--csv", "c.csv")
    assert code == 0
    assert "ROC-AUC: B is worse" in out
    assert "Wrote pages/c.html" in err
    assert (work / "pages" / "c.html").read_text().startswith("<!DOCTYPE html>")
    with (work / "c.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"metric", "run", "value", "low", "high", "difference", "verdict"} <= rows[0].keys()


def test_names_and_settings_are_printed_as_they_are(mlsys, work, write):  # noqa: F811
    write(work / "outputs" / "[b]", predictions(2.0), **{"data.drop": ["[seats]", "[/b]", ":x:"]})
    write(work / "outputs" / "[red]", predictions(2.0), **{"choices.model": "[bold]m"})
    write(work / "outputs" / "=1+1", predictions(2.0))
    code, out, err = mlsys("compare", "[b]", "[red]", "=1+1", "--csv", "[i].csv")
    assert code == 0
    assert "[seats], [/b], :x:" in out.replace("'", "").replace('"', "")
    assert "outputs/[red]" in out
    assert "Wrote [i].csv" in err
    with (work / "[i].csv").open() as file:
        assert {row["name"] for row in csv.DictReader(file)} == {"[b]", "[red]", "'=1+1"}  # not run by a spreadsheet
    code, out, _ = mlsys("runs", "--where", "model='[bold]m'", "--sort", "data.drop")
    assert code == 0
    assert "[bold]m" in out
    code, out, _ = mlsys("runs", "--where", "model='[/b]'")
    assert "match \"model='[/b]'\"" in out


def test_files_are_written_even_if_the_pipe_is_closed(work):
    command = [sys.executable, "-m", "mlsys", "compare", "good", "poor", "--html", "c.html", "--csv", "c.csv"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    process.stdout.close()
    process.wait(HANG)
    assert (work / "c.html").is_file()
    assert (work / "c.csv").is_file()


def test_json_output_is_only_json(mlsys, work):
    code, out, _ = mlsys("compare", "good", "poor", "--to", "poor", "--json", "--bootstrap-resamples", "5")
    data = json.loads(out)
    assert code == 0
    assert (data["reference"], data["bootstrap_resamples"]) == ("outputs/poor", 5)


def test_a_run_that_cannot_be_compared_is_exit_code_1_and_still_shown(mlsys, work, write):  # noqa: F811
    write(work / "outputs" / "other", predictions(1.0), fingerprint="0" * 64)
    code, out, _ = mlsys("compare", "good", "poor", "other")
    assert code == 1
    assert "C cannot be compared with A: different data" in out


def test_a_tampered_run_is_exit_code_1_and_named(mlsys, work):
    shutil.copytree("outputs/poor", "outputs/edited")
    Path("outputs/edited/config.yaml").write_text("{}")
    code, out, _ = mlsys("compare", "good", "poor", "edited")
    assert code == 1
    assert "outputs/edited:" in out
    assert "changed: config.yaml" in out


def test_wrong_usage(mlsys, work):
    code, _, err = mlsys("compare", "good")
    assert (code, "2 to 20" in err) == (2, True)
    code, _, err = mlsys("compare", "good", "poor", "--metrics", "rocauc")
    assert (code, "closest: roc_auc" in err) == (2, True)
    assert mlsys("compare", "good", "poor", "--top", "21")[0] == 2
    code, _, err = mlsys("compare", "good", "nowhere")
    assert (code, "nowhere" in err) == (1, True)


def test_runs_are_filtered_sorted_and_limited(mlsys, work):
    code, out, err = mlsys("runs", "--where", "model=xgboost or roc_auc<0.7", "--sort", "-roc_auc", "--limit", "1")
    assert code == 0
    assert "good" in out
    assert "poor" not in out
    assert "1 of 2 runs" in err
    code, out, _ = mlsys("runs", "--where", "model.max_depth=3", "--sort", "-precision@5", "--json")
    rows = json.loads(out)
    assert [row["path"] for row in rows] == ["outputs/good", "outputs/poor"]
    assert rows[0]["metrics"]["precision@5"] >= rows[1]["metrics"]["precision@5"]


def test_columns_named_in_where_or_sort_are_shown(mlsys, work):
    _, out, _ = mlsys("runs", "--sort", "-recall@10,model.C")
    assert "recall@10" in out.splitlines()[0]
    assert "model.C" in out.splitlines()[0]


def test_a_wrong_condition_is_wrong_usage(mlsys, work):
    code, out, err = mlsys("runs", "--where", "modle=x")
    assert (code, out) == (2, "")
    assert "closest: model" in err


def test_verify_finds_what_was_changed(mlsys, work):
    assert mlsys("runs", "--verify")[0] == 0
    with Path("outputs/good/metrics.json").open("a") as file:
        file.write(" ")
    code, out, _ = mlsys("runs", "--verify")
    assert code == 1
    assert "tampered" in out
    assert "changed: metrics.json" in out
    assert mlsys("runs")[0] == 0


def test_no_matching_runs(mlsys, work, tmp_path):
    code, out, _ = mlsys("runs", "--where", "roc_auc>1")
    assert code == 0
    assert "match 'roc_auc>1'" in out
