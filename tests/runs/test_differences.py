import json
from dataclasses import replace

import pandas as pd
import pytest

from mlsys.runs.calibration import Calibration
from mlsys.runs.differences import ABSENT, differences
from mlsys.runs.files import digest
from mlsys.runs.reader import Run


@pytest.fixture
def pair(make_run, tmp_path):
    return make_run(tmp_path / "a"), make_run(tmp_path / "b")


def rewrite(run: Run, name: str, data: bytes | None, **more) -> Run:
    """Return the run with one file changed and its manifest updated."""
    files = dict(run.manifest.files)
    if data is None:
        (run.path / name).unlink()
        del files[name]
    else:
        (run.path / name).write_bytes(data)
        files[name] = digest(data)
    manifest = replace(run.manifest, files=files, **more)
    (run.path / "manifest.json").write_text(manifest.to_text())
    return Run.open(run.path)


def test_the_same_training_gives_no_difference(pair):
    assert differences(*pair) == []


def test_different_times_and_versions_alone_are_no_difference(pair):
    first, second = pair
    packages = {**second.manifest.packages, "numpy": "0.1"}
    assert differences(first, rewrite(second, "card.md", b"another card", packages=packages)) == []


def test_numbers_have_a_json_path_and_explanations_follow(pair):
    first, second = pair
    data = json.dumps({"overall": {"roc_auc": {"value": 0.91, "low": 0.8, "high": 0.95}, "brier": 1}}).encode()
    packages = {**second.manifest.packages, "numpy": "0.1"}
    found = differences(first, rewrite(second, "metrics.json", data, packages=packages, seed=2))
    texts = [str(difference) for difference in found]
    assert texts[0] == "metrics.json $.overall.roc_auc.value: 0.9 | 0.91 (by 0.01)"
    assert texts[1] == f"metrics.json $.overall.brier: {ABSENT} | 1"
    assert texts[2] == "manifest.json $.seed: 1 | 2 (may explain it)"
    assert texts[3] == f'manifest.json $.packages.numpy: "{first.manifest.packages["numpy"]}" | "0.1" (may explain it)'
    assert len(texts) == 4


@pytest.mark.parametrize("name", ["audit.json", "threshold.json", "reference.json", "schema.json"])
def test_json_files_are_compared(pair, name):
    first, second = pair
    data = json.dumps({**json.loads(second.read_bytes(name)), "new": "a" * 99}).encode()
    (difference,) = differences(first, rewrite(second, name, data))
    assert (difference.file, difference.where, difference.first) == (name, "$.new", ABSENT)
    assert len(difference.second) == 60


def test_config_is_compared_by_key(pair):
    first, second = pair
    found = differences(first, rewrite(second, "config.yaml", b"seed: 2\nchoices: {model: logistic, sampler: none}\n"))
    assert [str(each) for each in found] == ["config.yaml $.seed: 1 | 2"]


def test_equal_values_in_different_bytes(pair):
    first, second = pair
    (difference,) = differences(first, rewrite(second, "threshold.json", b'{"threshold": 0.5}'))
    assert (difference.file, difference.note) == ("threshold.json", "same values, different formatting")


def parquet(frame: pd.DataFrame) -> bytes:
    return frame.to_parquet(index=False)


def test_columns_are_compared_by_value(pair):
    first, second = pair
    other = pd.DataFrame({"id": [1, 2], "score": [0.25, 0.5]})
    (difference,) = differences(first, rewrite(second, "predictions.parquet", parquet(other)))
    assert str(difference) == ("predictions.parquet column score: 0.75 | 0.5 (1 of 2 rows, first row 1, by up to 0.25)")


def test_missing_values_in_both_are_equal(pair):
    frames = [pd.DataFrame({"id": [1, 2], "score": [None, score], "text": ["a", None]}) for score in (0.1, 0.2)]
    runs = [rewrite(run, "folds.parquet", parquet(frame)) for run, frame in zip(pair, frames, strict=True)]
    (difference,) = differences(*runs)
    assert str(difference) == "folds.parquet column score: 0.1 | 0.2 (1 of 2 rows, first row 1, by up to 0.1)"


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (pd.DataFrame({"id": [1], "score": [0.25]}), [("rows", "2", "1")]),
        (pd.DataFrame({"id": [1, 2]}), [("column score", "present", ABSENT)]),
        (pd.DataFrame({"score": [0.25, 0.75], "id": [1, 2]}), [("columns", "id, score", "score, id")]),
        (pd.DataFrame({"id": ["1", "2"], "score": [0.25, 0.75]}), [("column id", "dtype int64", "dtype str")]),
        (pd.DataFrame({"id": [1, 2], "score": [0.25, None]}), [("column score", "0.75", "nan")]),
    ],
)
def test_tables_of_different_shape(pair, frame, expected):
    first, second = pair
    found = differences(first, rewrite(second, "predictions.parquet", parquet(frame)))
    assert [(each.where, each.first, each.second) for each in found] == expected


def test_a_file_that_only_one_run_has(pair):
    first, second = pair
    (difference,) = differences(first, rewrite(second, "audit.json", None))
    assert (difference.file, difference.first, difference.second) == ("audit.json", "present", ABSENT)


def test_a_different_calibration_changes_the_predictions_for_golden_rows(pair):
    first, second = pair
    data = json.dumps(Calibration.prior(0.5, 0.02).to_dict()).encode()
    found = differences(first, rewrite(second, "model/calibration.json", data))
    assert [(each.file, each.where) for each in found] == [
        ("model/calibration.json", "$.target_prior"),
        ("model/pipeline.skops", "on golden rows, column probability"),
    ]
    assert "20 of 20 rows" in found[1].note


def test_models_of_different_versions_are_compared(pair):
    first, second = pair
    packages = {**first.manifest.packages, "scikit-learn": "0.1"}
    found = differences(rewrite(first, "reference.json", b'{"a": 1}', packages=packages), second)
    assert [each.where for each in found] == ["$.a", "$.packages.scikit-learn"]


def test_long_lists_are_shortened(pair):
    first, second = pair
    data = json.dumps({f"key{number}": 1 for number in range(50)}).encode()
    found = differences(first, rewrite(second, "reference.json", data))
    assert len(found) == 21
    assert found[-1].note == "and 30 more"
