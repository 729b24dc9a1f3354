import hashlib

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlsys.errors import DataError
from mlsys.evaluation.report.plots import PLOTS, write_plots
from tests.evaluation.conftest import NOUNS


def digests(files):
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def description(path):
    with Image.open(path) as image:
        return image.info["Description"]


def only(monkeypatch, *names):
    monkeypatch.setattr("mlsys.evaluation.report.plots.PLOTS", {name: PLOTS[name] for name in names})


def test_every_plot_is_a_small_png_with_a_description(plots):
    assert list(plots) == list(PLOTS)
    for name, path in plots.items():
        assert path.parts[-2:] == ("plots", f"{name}.png")
        assert 2_000 < path.stat().st_size < 60_000
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width == 675
            assert 400 < image.height < 800
            assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
            assert len(image.convert("RGB").getcolors(100_000)) > 8, f"{name} is blank"
            assert "Software" not in image.info


def test_descriptions_contain_the_main_findings(plots):
    text = {name: description(path) for name, path in plots.items()}
    assert "ROC-AUC" not in text["gain"]
    assert "Area under the curve 0.901 (0.860 to 0.940)" in text["roc"]
    assert "Calibration error 0.0512 before, 0.0010 after" in text["calibration"]
    assert "2020-04-27" in text["folds"]
    assert "Top 20 of 27 features" in text["importances"]
    assert "users_email_63d" in text["importances"]


def test_the_bytes_do_not_depend_on_the_users_style(tmp_path, plots, predictions, importances, run):
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 20, "savefig.dpi": 40}):
        again = write_plots(tmp_path, predictions, importances, run["metrics"], threshold=0.02, **NOUNS)
        assert mpl.rcParams["font.size"] == 20, "the caller's style must be restored"
    assert digests(again) == digests(plots)


def test_other_labels_change_the_plots(tmp_path, plots, predictions, importances, run):
    label = predictions["label"].sample(frac=1, random_state=1).to_numpy()
    other = write_plots(tmp_path, predictions.assign(label=label), importances, run["metrics"], threshold=0.02, **NOUNS)
    assert [name for name in plots if digests(other)[name] == digests(plots)[name]] == ["importances"]


def test_the_nouns_for_rows_and_positives_are_used(tmp_path, predictions, importances):
    files = write_plots(tmp_path, predictions, importances, {}, entities="patients", positives="readmissions")
    text = " ".join(map(description, files.values()))
    assert "patients" in text
    assert "readmissions" in text
    assert "accounts" not in text
    assert "converters" not in text


CASES = {
    "one fold, no time, no activity": lambda rows: rows[rows["fold"] == 0].assign(as_of=pd.NaT, activity=np.nan),
    "no activity column": lambda rows: rows.drop(columns="activity"),
    "activity partly missing": lambda rows: rows.assign(activity=rows["activity"].where(rows["id"] > 50)),
    "no positives": lambda rows: rows.assign(label=0),
    "one fold without positives": lambda rows: rows.assign(label=rows["label"].where(rows["fold"] != 1, 0)),
    "only positives": lambda rows: rows.assign(label=1),
    "equal scores": lambda rows: rows.assign(score=0.002, probability=0.002),
    "zero scores": lambda rows: rows.assign(score=0.0, probability=0.0),
    "scores that are not probabilities": lambda rows: rows.assign(score=np.log(rows["probability"] + 1e-9)),
    "frequent positives": lambda rows: rows.assign(label=rows["id"] % 3 == 0, probability=rows["id"] / 401),
    "one row": lambda rows: rows.iloc[:1],
    "no rows": lambda rows: rows.iloc[:0],
}


@pytest.mark.parametrize("change", CASES.values(), ids=CASES)
def test_edge_cases_of_predictions_are_drawn(tmp_path, predictions, change):
    files = write_plots(tmp_path, change(predictions), pd.DataFrame(), {}, **NOUNS)
    assert all(path.stat().st_size > 1_000 for path in files.values())


def test_a_fold_that_cannot_be_drawn_is_named(tmp_path, monkeypatch, predictions, importances):
    only(monkeypatch, "roc")
    rows = predictions.assign(label=predictions["label"].where(predictions["fold"] != 1, 0))
    text = description(write_plots(tmp_path, rows, importances, {}, **NOUNS)["roc"])
    assert "Not drawn, because there is only one class: 2020-03-23" in text
    assert "nothing to plot" in description(
        write_plots(tmp_path, rows.assign(label=0), importances, {}, **NOUNS)["roc"]
    )


def test_raw_scores_that_are_not_probabilities_are_not_compared(tmp_path, monkeypatch, predictions, importances, run):
    only(monkeypatch, "calibration")
    for score in (np.log(predictions["probability"] + 1e-9), predictions["probability"]):
        text = description(
            write_plots(tmp_path, predictions.assign(score=score), importances, run["metrics"], **NOUNS)["calibration"]
        )
        assert "Calibration error 0.0010. " in text


@pytest.mark.parametrize(
    "metrics",
    [
        {"overall": None, "calibration": None, "folds": None},
        {"overall": {"roc_auc": {"value": None, "low": None, "high": None}}, "calibration": {"after": None}},
        {"overall": {"roc_auc": 0.9}, "calibration": {"before": {"ece": None}, "after": {"ece": float("nan")}}},
    ],
)
def test_missing_metrics_are_left_out(tmp_path, monkeypatch, predictions, importances, metrics):
    only(monkeypatch, "roc", "calibration")
    files = write_plots(tmp_path, predictions, importances, metrics, **NOUNS)
    assert "nan" not in description(files["calibration"])
    assert "Area under the curve 0." in description(files["roc"])


@pytest.mark.parametrize(
    "importances",
    [
        pd.DataFrame(),
        pd.DataFrame({"feature": ["a"], "importance": [0.0]}),
        pd.DataFrame({"feature": ["<html>", "$x_$", "数", 3, "a" * 90], "importance": [-1.0, 2.0, np.nan, 0.5, 9.0]}),
    ],
    ids=["none", "zero", "odd names and values"],
)
def test_edge_cases_of_importances_are_drawn(tmp_path, monkeypatch, predictions, importances):
    only(monkeypatch, "importances")
    assert write_plots(tmp_path, predictions, importances, {}, **NOUNS)["importances"].stat().st_size > 1_000


def test_a_missing_column_is_named(tmp_path, predictions, importances):
    with pytest.raises(DataError, match="probability"):
        write_plots(tmp_path, predictions.drop(columns="probability"), importances, {}, **NOUNS)
