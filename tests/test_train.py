"""The entrypoint from the user's perspective: exit codes, output, the run directory."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from mlsys.runs import Run, list_runs
from mlsys.runs.differences import differences
from mlsys.runs.golden import check_golden
from tests.waiting import HANG, wait_until

SMALL = ["threads=1", "metrics.bootstrap_resamples=20", "model.n_estimators=20", "split.folds=2", "features=minimal"]
FILES = {
    "audit.json", "card.md", "config.yaml", "contracts.json", "folds.parquet", "golden.parquet", "metrics.json",
    "model/calibration.json", "model/pipeline.skops", "overrides.yaml", "predictions.parquet", "reference.json",
    "report.html", "schema.json", "threshold.json", "train.log",
}  # fmt: skip


def train(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mlsys.train", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )


@pytest.fixture(scope="session")
def workplace(tmp_path_factory, crm):
    """A folder with one finished run, and its output."""
    folder = tmp_path_factory.mktemp("workplace")
    cache = str(folder / "cache")
    done = train(folder, *crm.overrides, *SMALL, XDG_CACHE_HOME=cache, MLSYS__SEED="3")
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture
def run(workplace):
    return Run.open(workplace[1].stdout.strip().splitlines()[-1])


def test_a_run_whose_boosting_ends_at_its_limit_says_so_in_log_summary_and_card(workplace, run):
    warning = "Boosting ended at model.n_estimators=20 in 2 of 2 folds"
    log, card = (run.path / "train.log").read_text(), (run.path / "card.md").read_text()
    assert warning in log
    assert warning in " ".join(workplace[1].stdout.split())
    assert warning in card.replace("\\", "")


def test_the_last_line_is_the_run_directory(workplace):
    folder, done = workplace
    last = Path(done.stdout.strip().splitlines()[-1])
    assert last.is_relative_to(folder / "outputs")
    assert (last / "manifest.json").is_file()


def test_with_external_memory_a_run_has_the_same_numbers_and_leaves_no_scratch(workplace, run, crm):
    folder, cache = workplace[0], workplace[0] / "cache"
    options = ["fit.external_memory=true", "hydra.run.dir=on-disk"]
    done = train(folder, *crm.overrides, *SMALL, *options, XDG_CACHE_HOME=str(cache), MLSYS__SEED="3")
    assert done.returncode == 0, done.stderr
    assert "GB on disk, and a fit up to" in done.stderr
    for name in ("predictions.parquet", "golden.parquet", "metrics.json", "audit.json", "reference.json"):
        assert (folder / "on-disk" / name).read_bytes() == (run.path / name).read_bytes(), name
    assert list((cache / "mlsys" / "scratch").iterdir()) == []


def test_metrics_are_printed_next_to_baselines(workplace):
    table = workplace[1].stdout
    assert "roc_auc" in table
    assert "activity" in table
    assert "Leakage audit: " in table


def test_the_run_directory_has_the_files_of_the_contract(run):
    names = set(run.manifest.files)
    assert names >= FILES
    assert {name for name in names if name.startswith("plots/")} >= {"plots/pr.png", "plots/roc.png", "plots/gain.png"}
    assert not [name for name in names if name.endswith((".pkl", ".joblib", ".pickle"))]
    assert run.manifest.status == "complete"
    assert run.manifest.timing["total"] > 0
    assert run.manifest.timing["predict_ms"] > 0
    assert run.manifest.data_fingerprint


def test_overrides_have_their_source(run):
    sources = {entry["override"]: entry["source"] for entry in run.overrides}
    assert sources["seed=3"] == "environment MLSYS__SEED"
    assert sources["threads=1"] == "command line"
    assert run.config["seed"] == 3


def test_metrics_have_the_shape_that_other_programs_read(run):
    metrics = run.metrics
    assert set(metrics) >= {"overall", "folds", "baselines", "calibration"}
    assert set(metrics["overall"]["roc_auc"]) >= {"value", "low", "high"}
    assert set(metrics["folds"][0]) >= {"as_of", "rows", "positives", "label_complete", "roc_auc"}
    assert set(metrics["baselines"]) >= {"chance", "activity"}
    assert metrics["calibration"]["before"]["ece"] >= 0
    assert "timing" not in metrics


def test_predictions_are_the_out_of_fold_rows(run):
    predictions = run.predictions
    assert list(predictions.columns)[:7] == ["id", "as_of", "fold", "label", "label_complete", "score", "probability"]
    assert len(predictions) == sum(fold["rows"] for fold in run.metrics["folds"])
    assert predictions["probability"].between(0, 1).all()


def test_the_schema_describes_every_input(run):
    schema = run.schema
    assert {"inputs", "id", "as_of", "target", "positive"} <= set(schema)
    assert all({"name", "dtype", "nullable", "description", "example"} <= set(entry) for entry in schema["inputs"])


def test_the_saved_model_reproduces_its_golden_rows(run):
    check_golden(run)


def test_a_changed_byte_is_named(run, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    data = bytearray((copy / "predictions.parquet").read_bytes())
    data[100] ^= 1
    (copy / "predictions.parquet").write_bytes(data)
    with pytest.raises(Exception, match=r"predictions\.parquet"):
        Run.open(copy)


def test_the_same_command_gives_the_same_bytes(workplace, run, crm):
    folder, _ = workplace
    done = train(folder, *crm.overrides, *SMALL, XDG_CACHE_HOME=str(folder / "elsewhere"), MLSYS__SEED="3")
    again = Run.open(done.stdout.strip().splitlines()[-1])
    assert differences(run, again) == []
    assert (run.path / "metrics.json").read_bytes() == (again.path / "metrics.json").read_bytes()
    assert (run.path / "predictions.parquet").read_bytes() == (again.path / "predictions.parquet").read_bytes()
    assert (run.path / "model/pipeline.skops").read_bytes() == (again.path / "model/pipeline.skops").read_bytes()


def test_a_wrong_config_is_exit_code_2_and_leaves_nothing(tmp_path):
    done = train(tmp_path, "model=catbost", "seeed=1")
    assert done.returncode == 2
    assert "closest: catboost" in done.stderr
    assert "closest: seed" in done.stderr
    assert "Traceback" not in done.stderr
    late = train(tmp_path, "objective=rocauc")
    assert (late.returncode, "closest: roc_auc" in late.stderr) == (2, True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_failed_run_is_reported_and_recorded(tmp_path, crm):
    done = train(tmp_path, *crm.overrides, *SMALL, "data.horizon_days=1", "data.spine.every_days=300")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [row.status for row in list_runs(tmp_path)] == ["failed"]
    log = next(tmp_path.rglob("train.log")).read_text()
    reason = done.stderr.strip().splitlines()[-1]
    assert reason in log
    assert done.stderr.count(reason) == 1


def test_a_strict_audit_fails_the_leaky_run(tmp_path, crm):
    arguments = ["experiment=naive_leaky", *crm.overrides[:2], "data.horizon_days=380", "audit.strict=true"]
    done = train(tmp_path, *arguments, "threads=1", "metrics.bootstrap_resamples=20", "model.n_estimators=20")
    assert done.returncode == 1, done.stderr
    run = Run.open(next(line for line in done.stdout.splitlines() if line.startswith(str(tmp_path))))
    failed = {check["name"] for check in run.audit["checks"] if check["status"] == "fail"}
    assert failed >= {"time_travel", "embargo"}
    assert "audit.strict" in done.stderr


@pytest.mark.slow
def test_the_first_run_of_a_new_user_passes_the_audit(tmp_path):
    done = train(tmp_path, "tracking=none", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    audit = Run.open(done.stdout.strip().splitlines()[-1]).audit
    assert {check["name"]: check["status"] for check in audit["checks"] if check["status"] != "pass"} == {}
    assert "Leakage audit: pass" in done.stdout


@pytest.mark.slow
def test_the_leaky_experiment_fails_on_the_demo_data(tmp_path):
    done = train(tmp_path, "experiment=naive_leaky", "tracking=none", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    audit = Run.open(done.stdout.strip().splitlines()[-1]).audit
    failed = {check["name"] for check in audit["checks"] if check["status"] == "fail"}
    assert failed >= {"time_travel", "embargo"}


def test_a_flat_table_needs_no_code(tmp_path):
    rows = pd.DataFrame({"Lead ID": [f"L{i:04d}" for i in range(300)], "spend": [f"{i % 50},5 €" for i in range(300)]})
    rows["won"] = ["yes" if i % 50 > 35 else "no" for i in range(300)]
    rows.to_csv(tmp_path / "leads.csv", sep=";", index=False, encoding="utf-8-sig")
    arguments = [
        "data=table",
        "data.path=leads.csv",
        "data.target=won",
        "model=logistic",
        "metrics.bootstrap_resamples=20",
    ]
    done = train(tmp_path, *arguments, "threads=1")
    assert done.returncode == 0, done.stderr
    run = Run.open(done.stdout.strip().splitlines()[-1])
    assert run.metrics["overall"]["roc_auc"]["value"] > 0.95
    assert [entry["name"] for entry in run.schema["inputs"]] == ["spend"]
    assert run.schema["positive"] == "yes"
    assert run.read_json("recipe.json")


def test_a_grid_is_hydras_own_and_ends_with_its_directory(tmp_path, crm):
    done = train(tmp_path, "-m", *crm.overrides, *SMALL, "model=xgboost,lightgbm")
    assert done.returncode == 0, done.stderr
    last = Path(done.stdout.strip().splitlines()[-1])
    assert sorted(row.model for row in list_runs(last)) == ["lightgbm", "xgboost"]


def test_a_killed_run_has_no_manifest(tmp_path, crm):
    slow = [*crm.overrides, "threads=1", "model.n_estimators=100000", "fit.early_stopping.enabled=false"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlsys.train", *slow], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: list(tmp_path.rglob("config.yaml")), "the run wrote its config", process=process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [row.status for row in list_runs(tmp_path)] == ["incomplete"]


def test_help_names_the_groups(tmp_path):
    done = train(tmp_path, "--help")
    assert done.returncode == 0
    assert "model: activity, auto, catboost" in done.stdout
    assert "python -m mlsys.train data=hubspot data.dir=PATH" in done.stdout, "no example"


def test_help_imports_nothing_heavy():
    code = (
        "import sys, runpy; sys.argv=['mlsys.train', '--help']\n"
        "try: runpy.run_module('mlsys.train', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'pandas', 'sklearn', 'ibis', 'pydantic', 'xgboost', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "sys.stderr.write(','.join(sorted(heavy)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_metrics_are_valid_json_without_nan(run):
    text = (run.path / "metrics.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in metrics.json"))


def test_passwords_are_not_saved(tmp_path):
    password = "s3cret"
    done = train(tmp_path, "data=sql", f"data.url=postgres://ann:{password}@127.0.0.1:1/crm", *SMALL)
    assert done.returncode == 1
    assert "Cannot connect" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file() and password in path.read_text()] == []


@pytest.mark.parametrize("overrides", [["model=null"], ["model=[1]", "seed=x"]])
def test_an_option_that_is_not_a_name_is_explained(tmp_path, overrides):
    done = train(tmp_path, *overrides)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "model\n      got:     " in done.stderr
    assert ("seed\n" in done.stderr) == ("seed=x" in overrides)


def test_a_run_directory_that_cannot_be_created_is_explained(tmp_path):
    (tmp_path / "outputs").write_text("")
    done = train(tmp_path)
    assert done.returncode == 1
    assert "Cannot create the run directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_finished_runs_log_is_not_extended_by_another_run(workplace, run, tmp_path):
    import shutil

    finished = shutil.copytree(run.path, tmp_path / "finished")
    # New demo tables are generated, and logged, before the run starts.
    new = ["data.demo.events=300", f"data.cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={finished}"]
    done = train(tmp_path, *new)
    assert done.returncode == 1
    assert "already has a run" in done.stderr
    assert not (tmp_path / "cache").exists()
    Run.open(finished)
