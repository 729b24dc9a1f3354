import logging
import os
from dataclasses import replace

import pandas as pd
import pytest

from mlsys.errors import RunError
from mlsys.runs import reader
from mlsys.runs.manifest import package_versions
from mlsys.runs.reader import Run, find_run


def test_every_file_has_its_property(run, table):
    assert run.config["choices"] == {"model": "logistic", "sampler": "none"}
    assert run.overrides == ["model=logistic"]
    assert run.schema["target"] == "converted"
    assert run.metrics["overall"]["roc_auc"]["value"] == 0.9
    assert run.audit["status"] == "pass"
    assert run.threshold == {"threshold": 0.5}
    assert run.reference == {}
    assert run.card == "# A card\n"
    assert list(run.predictions) == ["id", "score"]
    assert list(run.folds) == ["fold", "roc_auc"]
    assert list(run.golden) == ["users", "actions", "industry", "score", "probability"]
    assert run.calibration.kind == "prior"
    assert run.model.predict_proba(table[0]).shape == (200, 2)
    assert run.name == "2026-11-20/10-00-00"
    assert run.model is run.model


@pytest.mark.parametrize(
    "name", ["config.yaml", "metrics.json", "golden.parquet", "model/pipeline.skops", "plots/roc.png", "card.md"]
)
def test_one_changed_byte_is_detected(run, name):
    path = run.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match=rf"changed: {name} \(sha256 \w+… instead of \w+…\)"):
        Run.open(run.path)
    with pytest.raises(RunError, match=rf"changed: {name}"):
        Run.open(run.path, verify=False).read_bytes(name)


def test_truncated_missing_and_extra_files_are_listed_together(run):
    os.truncate(run.path / "metrics.json", 10)
    (run.path / "card.md").unlink()
    (run.path / "plots" / "new.png").touch()
    with pytest.raises(RunError) as caught:
        Run.open(run.path)
    message = str(caught.value)
    assert "changed: metrics.json (10 bytes instead of " in message
    assert "missing: card.md" in message
    assert "extra:   plots/new.png" in message
    with pytest.raises(RunError, match=r"missing: card\.md"):
        _ = Run.open(run.path, verify=False).card


def test_hidden_files_are_not_part_of_a_run(run):
    (run.path / ".hydra").mkdir()
    (run.path / ".hydra" / "config.yaml").touch()
    (run.path / "plots" / ".DS_Store").touch()
    Run.open(run.path)


def test_a_link_in_place_of_a_file_is_refused(run):
    copy = run.path.parent / "copy.json"
    copy.write_bytes((run.path / "metrics.json").read_bytes())
    (run.path / "metrics.json").unlink()
    (run.path / "metrics.json").symlink_to(copy)
    with pytest.raises(RunError, match=r"metrics.json is a symbolic link"):
        Run.open(run.path)
    with pytest.raises(RunError, match="through a symbolic link"):
        _ = Run.open(run.path, verify=False).metrics


def test_a_linked_folder_is_refused(run):
    (run.path / "plots").rename(run.path.parent / "plots")
    (run.path / "plots").symlink_to(run.path.parent / "plots")
    with pytest.raises(RunError, match=r"plots is a symbolic link"):
        Run.open(run.path)
    with pytest.raises(RunError, match="through a symbolic link"):
        Run.open(run.path, verify=False).read_bytes("plots/roc.png")


def test_a_linked_manifest_is_refused(run):
    (run.path / "manifest.json").rename(run.path.parent / "manifest.json")
    (run.path / "manifest.json").symlink_to(run.path.parent / "manifest.json")
    with pytest.raises(RunError, match=r"manifest.json is a symbolic link"):
        Run.open(run.path, verify=False)


@pytest.mark.parametrize("name", ["../outside.json", "/outside.json"])
def test_a_manifest_with_files_outside_the_directory_is_refused(run, name):
    (run.path.parent / "outside.json").write_text("{}")
    files = {**run.manifest.files, name: run.manifest.files["reference.json"]}
    (run.path / "manifest.json").write_text(replace(run.manifest, files=files).to_text())
    with pytest.raises(RunError, match="is not a path inside"):
        Run.open(run.path)
    with pytest.raises(RunError, match="is not a path inside"):
        Run.open(run.path, verify=False).read_bytes(name)


def test_without_a_manifest_a_run_is_incomplete(run):
    (run.path / "manifest.json").unlink()
    with pytest.raises(RunError, match=r"is incomplete: no manifest\.json"):
        Run.open(run.path)
    with pytest.raises(RunError, match="does not exist"):
        Run.open(run.path / "nowhere")


def test_a_file_that_the_run_does_not_have(run):
    with pytest.raises(RunError, match=r"has no study.json \(its status is complete\). Files: audit.json, card.md"):
        run.read_bytes("study.json")


def test_a_run_opens_through_a_link_to_it(run, tmp_path):
    (tmp_path / "best").symlink_to(run.path)
    assert Run.open(tmp_path / "best") == run


def with_version(run: Run, package: str, version: str, **more: bool) -> Run:
    manifest = replace(run.manifest, packages={**run.manifest.packages, package: version})
    return replace(run, manifest=manifest, **more)


def test_a_different_minor_version_of_a_library_is_refused_unless_allowed(run, caplog):
    with pytest.raises(
        RunError, match=r"scikit-learn .* \(trained with 0\.1\.0\).*(\n|.)*pip install 'scikit-learn==0\.1\.0'"
    ):
        _ = with_version(run, "scikit-learn", "0.1.0").model
    with caplog.at_level(logging.WARNING, "mlsys"):
        assert with_version(run, "scikit-learn", "0.1.0", any_version=True).model
    assert "another version of scikit-learn" in caplog.text


def test_a_different_patch_version_is_a_warning(run, caplog):
    installed = package_versions(("scikit-learn",))["scikit-learn"]
    other = ".".join([*installed.split(".")[:2], "999"])
    with caplog.at_level(logging.WARNING, "mlsys"):
        assert with_version(run, "scikit-learn", other).model
    assert "trained with" in caplog.text


def test_versions_of_unused_libraries_do_not_matter(run, caplog):
    with caplog.at_level(logging.WARNING, "mlsys"):
        assert with_version(run, "xgboost", "0.1.0").model
    assert caplog.text == ""


def test_a_missing_library_is_an_error_even_with_any_version(run, monkeypatch):
    monkeypatch.setattr(reader, "package_versions", lambda packages: {})
    with pytest.raises(RunError, match="scikit-learn missing"):
        _ = replace(run, any_version=True).model


def test_a_changed_model_is_not_loaded(run):
    path = run.path / "model" / "pipeline.skops"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(RunError, match=r"changed: model/pipeline\.skops"):
        _ = run.model


def test_find_by_path(run, tmp_path, monkeypatch):
    assert find_run(run.path) == run.path
    assert find_run(str(run.path), tmp_path / "elsewhere") == run.path
    assert find_run("outputs/2026-11-20/10-00-00", tmp_path) == run.path
    assert find_run("2026-11-20/10-00-00", tmp_path) == run.path
    monkeypatch.chdir(tmp_path)
    assert find_run("outputs/2026-11-20/10-00-00") == run.path


def test_latest_is_the_complete_run_that_finished_last(make_run, tmp_path):
    make_run(tmp_path / "outputs" / "b" / "1")
    newest = make_run(tmp_path / "multirun" / "a" / "1")
    manifest = replace(newest.manifest, created="2999-01-01T00:00:00.000+00:00")
    (newest.path / "manifest.json").write_text(manifest.to_text())
    make_run(tmp_path / "outputs" / "c" / "1")
    failed = make_run(tmp_path / "outputs" / "d" / "1", status="failed")
    manifest = replace(failed.manifest, created="2999-01-02T00:00:00.000+00:00")
    (failed.path / "manifest.json").write_text(manifest.to_text())
    (tmp_path / "outputs" / "e").mkdir()
    (tmp_path / "outputs" / "e" / "train.log").touch()
    assert find_run("latest", tmp_path) == newest.path


def test_latest_skips_a_damaged_run_with_a_warning(run, make_run, tmp_path, caplog):
    damaged = make_run(tmp_path / "outputs" / "z" / "1")
    (damaged.path / "manifest.json").write_text("{}")
    with caplog.at_level(logging.WARNING, "mlsys"):
        assert find_run("latest", tmp_path) == run.path
    assert f"{damaged.path}/manifest.json was changed or damaged" in caplog.text


def test_latest_without_a_run(tmp_path):
    with pytest.raises(RunError, match="No complete run found"):
        find_run("latest", tmp_path)


@pytest.mark.parametrize("name", ["2026-11-20/10-00-01", "outputs/2026-11-20/10-0-00", "10-00-00"])
def test_a_misspelled_run_gets_the_closest_match(run, tmp_path, name):
    with pytest.raises(RunError, match=r"\(closest: outputs/2026-11-20/10-00-00\)\."):
        find_run(name, tmp_path)


def test_a_folder_of_runs_is_not_a_run(run, make_run, tmp_path):
    with pytest.raises(RunError, match=r"has 1 run in it: name one, such as .*outputs/2026-11-20/10-00-00"):
        find_run("2026-11-20", tmp_path)
    make_run(run.path.parent / "11-00-00")
    with pytest.raises(RunError, match="has 2 runs in it"):
        find_run("2026-11-20", tmp_path)


def test_an_incomplete_run_is_not_found(run, tmp_path):
    (run.path / "manifest.json").unlink()
    with pytest.raises(RunError, match="is not a complete run"):
        find_run("2026-11-20/10-00-00", tmp_path)


def test_opening_a_run_imports_no_heavy_library():
    """Opening a run and reading its metrics needs neither pandas nor scikit-learn."""
    import subprocess
    import sys

    code = "import sys, mlsys.runs; print(sorted({'numpy', 'pandas', 'sklearn', 'skops', 'yaml'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_predictions_are_the_written_table(run):
    pd.testing.assert_frame_equal(run.predictions, pd.DataFrame({"id": [1, 2], "score": [0.25, 0.75]}))
