"""The content of a run directory is not trusted."""

import json
import shutil
import subprocess
import sys
import zipfile

import pandas as pd
import pytest

from mlsys.errors import RunError
from mlsys.runs import Run, RunWriter
from mlsys.runs.model_io import MODEL_FILE
from serve.scoring import Scorer


@pytest.fixture
def copied(run_of, tmp_path):
    return shutil.copytree(run_of("logistic"), tmp_path / "run")


def rewritten(source, folder, **changes):
    """A run with other files and a matching manifest, as an attacker could craft it."""
    run, writer = Run.open(source), RunWriter(folder)
    for name in run.manifest.files:
        data = changes.get(name.rpartition("/")[2].replace(".", "_"), run.read_bytes(name))
        writer.write_bytes(name, data)
    writer.finish(seed=0, threads=1, status=changes.get("status", "complete"))
    return folder


def test_the_fast_path_imports_nothing_that_trains(run_of):
    code = (
        "import sys; from pathlib import Path; from serve.scoring import Scorer; "
        "scorer = Scorer.load(Path(sys.argv[1])); scorer.score_many([]); "
        "print(scorer.path, *sorted({'pandas', 'sklearn', 'xgboost', 'lightgbm', 'scipy', 'skops'} & set(sys.modules)))"
    )
    for model, path in {"xgboost": "trees", "lightgbm": "lightgbm", "vote": "vote", "stack": "stack"}.items():
        command = [sys.executable, "-c", code, str(run_of(model))]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == [path]


def test_the_scorer_has_the_runs_attributes(run_of):
    scorer = Scorer.load(run_of("logistic"))
    assert scorer.threshold == 0.3
    assert scorer.run.path == run_of("logistic")
    assert [field["name"] for field in scorer.schema["inputs"]][:2] == ["users", "industry"]
    assert scorer.reason


def test_a_changed_byte_is_refused(copied):
    path = copied / MODEL_FILE
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match=r"changed: model/pipeline\.skops"):
        Scorer.load(copied)


def test_a_link_inside_is_refused(copied, tmp_path):
    elsewhere = tmp_path / "elsewhere.skops"
    (copied / MODEL_FILE).rename(elsewhere)
    (copied / MODEL_FILE).symlink_to(elsewhere)
    with pytest.raises(RunError, match="symbolic link"):
        Scorer.load(copied)


def test_a_linked_folder_is_refused(copied, tmp_path):
    (copied / "model").rename(tmp_path / "model")
    (copied / "model").symlink_to(tmp_path / "model")
    with pytest.raises(RunError, match="symbolic link"):
        Scorer.load(copied)


def test_an_extra_file_is_refused(copied):
    (copied / "extra.txt").write_text("")
    with pytest.raises(RunError, match=r"extra:   extra\.txt"):
        Scorer.load(copied)


def test_a_run_without_a_model_is_refused(run_of, tmp_path):
    with pytest.raises(RunError, match="trial run of a sweep"):
        Scorer.load(rewritten(run_of("logistic"), tmp_path / "run", status="trial"))


@pytest.mark.parametrize(
    ("model", "output"),
    [
        *((name, "probability") for name in ("logistic", "xgboost", "lightgbm", "catboost", "random_forest")),
        *(("survival", "by_7d"), ("uplift", "uplift")),
    ],
)
def test_a_model_that_does_not_reproduce_its_golden_rows_is_refused(model, output, run_of, tmp_path):
    source = run_of(model)
    golden = pd.read_parquet(source / "golden.parquet")
    golden.loc[3, output] += 1e-5
    with pytest.raises(RunError, match=r"does not reproduce its golden rows: they differ by up to 1e-05"):
        Scorer.load(rewritten(source, tmp_path / "run", golden_parquet=golden.to_parquet(index=False)))


def test_a_changed_calibration_is_refused(run_of, tmp_path):
    calibration = json.dumps({"kind": "prior", "train_prior": 0.5, "target_prior": 0.2}).encode()
    with pytest.raises(RunError, match="golden rows"):
        Scorer.load(rewritten(run_of("lightgbm"), tmp_path / "run", calibration_json=calibration))


def test_golden_rows_of_other_inputs_are_refused(run_of, tmp_path):
    golden = pd.read_parquet(run_of("logistic") / "golden.parquet").drop(columns="users").to_parquet(index=False)
    with pytest.raises(RunError, match="do not match its schema"):
        Scorer.load(rewritten(run_of("logistic"), tmp_path / "run", golden_parquet=golden))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("schema_json", b'{"inputs": [{"name": "users"}]}'),
        ("schema_json", b'{"inputs": []}'),
        ("schema_json", b'{"inputs": [{"name": "users", "dtype": "int8", "nullable": true}]}'),
        ("threshold_json", b"{}"),
        ("golden_parquet", b"PAR1 no table"),
    ],
)
def test_invalid_files_are_refused(name, content, run_of, tmp_path):
    with pytest.raises(RunError, match=r"[tT]rain again"):
        Scorer.load(rewritten(run_of("logistic"), tmp_path / "run", **{name: content}))


def edited_model(source, old, new):
    """The saved pipeline with some text of its schema replaced."""
    with zipfile.ZipFile(source / MODEL_FILE) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert old in files["schema.json"]
    files["schema.json"] = files["schema.json"].replace(old, new)
    path = source.parent / "edited.skops"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path.read_bytes()


def test_a_type_that_is_not_trusted_is_refused(run_of, tmp_path):
    data = edited_model(
        run_of("logistic"),
        b'"__class__":"SignedLog","__module__":"mlsys.pipeline.transformers"',
        b'"__class__":"Popen","__module__":"subprocess"',
    )
    with pytest.raises(RunError, match=r"not trusted: subprocess\.Popen"):
        Scorer.load(rewritten(run_of("logistic"), tmp_path / "run", pipeline_skops=data))


def test_a_model_that_is_not_a_skops_file_is_refused(run_of, tmp_path):
    for number, data in enumerate([b"", b"PK\x03\x04 no archive", b"{}"]):
        with pytest.raises(RunError, match="not a skops file"):
            Scorer.load(rewritten(run_of("logistic"), tmp_path / str(number), pipeline_skops=data))


def test_a_saved_encoder_of_other_columns_is_refused(run_of, tmp_path):
    data = edited_model(run_of("lightgbm"), b'"\\"mrr\\""', b'"\\"rrm\\""')
    with pytest.raises(RunError, match="was not made by this version of mlsys"):
        Scorer.load(rewritten(run_of("lightgbm"), tmp_path / "run", pipeline_skops=data))


def test_levels_that_the_schema_omits_are_known_from_the_encoder(run_of, tmp_path, records):
    schema = json.loads((run_of("lightgbm") / "schema.json").read_text())
    (plan,) = (each for each in schema["inputs"] if each["name"] == "plan")
    plan["categories"] = [f"level {i}" for i in range(199)] + ["pro"]  # as many as a schema lists
    for model, encoder in ("lightgbm", "native"), ("lightgbm", "onehot"), ("vote", "target"), ("stack", "target"):
        folder = tmp_path / f"{model}-{encoder}"
        scorer = Scorer.load(rewritten(run_of(model, encoder), folder, schema_json=json.dumps(schema).encode()))
        assert scorer.score(records[0] | {"plan": "free"}).warnings == ()
        (warning,) = scorer.score(records[0] | {"plan": "level X"}).warnings
        assert warning == "plan: 'level X' did not occur in training and is scored as unknown."
