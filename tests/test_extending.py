"""docs/extending.md, followed word for word in a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pandas as pd
import pytest

from mlsys.launch import NO_TRACKING, conf_folder
from mlsys.runs.golden import output_names
from tests.waiting import HANG

ROOT = Path(__file__).parents[1]
SMALL = ["threads=1", "metrics.bootstrap_resamples=20", "split.folds=2"]
EDITED = ("mlsys/runs/trusted.py", "serve/http/app.py")  # existing files, to which a block of the page adds lines


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the packages and the config groups, which commands run in it import."""
    folder = tmp_path_factory.mktemp("project")
    for package in ("mlsys", "serve"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "conf"))
    shutil.copytree(conf_folder(), folder / "conf")
    return folder


@pytest.fixture(scope="module")
def blocks():
    """The code blocks of the page, keyed by the file that their first line names."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    found = re.findall(r"```\w+\n(# (\S+\.(?:py|yaml))\b.*?\n.*?)```", page, flags=re.DOTALL)
    return {name: text for text, name in found}


def write_new_files(project, blocks):
    for name in set(blocks) - set(EDITED):
        (project / name).write_text(blocks[name], encoding="utf-8")


def add_lines(project, blocks, name):
    """Add a block's imports to the imports of a file, and its last line below the line that precedes it."""
    *imports, opening, entry = [line for line in blocks[name].splitlines()[1:] if line]
    text = (project / name).read_text(encoding="utf-8")
    first_import = "from __future__ import annotations\n"
    assert text.count(f"{opening}\n") == 1
    text = text.replace(f"{opening}\n", f"{opening}\n{entry}\n")
    (project / name).write_text(text.replace(first_import, "\n".join([first_import, *imports, ""])), encoding="utf-8")


def run(project, *command):
    environment = {name: value for name, value in os.environ.items() if name != NO_TRACKING}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env={**environment, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )


@contextmanager
def served(project, *arguments):
    """Yield a client of the service started with these arguments."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serve", *arguments, "--port", "0"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), "TMPDIR": str(project)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        assert lines[1].startswith("http"), process.stderr.read()
        with httpx.Client(base_url=lines[1].split()[0], timeout=HANG) as client:
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=HANG)


@pytest.mark.slow
def test_every_part_of_your_own_from_code_to_served(project, blocks, crm):
    write_new_files(project, blocks)
    tracked = project / "outputs" / "runs.jsonl"
    command = [
        "mlsys.train",
        *crm.overrides,
        *SMALL,
        "model=ours",
        "features=ours",
        "tracking=ours",
        "calibration=sigmoid",
    ]

    refused = run(project, *command)
    assert refused.returncode == 2, refused.stderr
    assert "model._target_" in refused.stderr
    assert "mlsys.pipeline.ours.NearerMean, which a saved model may not contain" in refused.stderr
    assert "add it to mlsys/runs/trusted.py" in refused.stderr
    assert list(project.rglob("outputs/**/*.*")) == [], "something was run"

    for name in EDITED:
        add_lines(project, blocks, name)
    done = run(project, *command)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip().splitlines()[-1])
    line = json.loads(tracked.read_text(encoding="utf-8"))
    assert (line["model"], line["status"]) == ("ours", "complete")
    assert line["roc_auc"] == json.loads((folder / "metrics.json").read_text())["overall"]["roc_auc"]["value"]

    golden = pd.read_parquet(folder / "golden.parquet")
    _, probability = output_names(golden.columns[:-2])
    inputs = golden.iloc[:, :-2]
    assert "actions_burst" in inputs
    assert golden[probability].nunique() > 1
    with served(project, str(folder)) as client:
        records = inputs.astype(object).where(inputs.notna(), None).to_dict("records")
        batch = client.post("/predict/batch", json={"records": records}).json()["predictions"]
        single = client.post("/predict", params={"explain": "true"}, json=records[0]).json()
        assert client.get("/model/inputs").json()["inputs"] == list(inputs)
    assert [row["probability"] for row in batch] == pytest.approx(golden[probability].tolist(), abs=1e-6)
    assert single["probability"] == pytest.approx(golden[probability][0], abs=1e-6)
    assert single["reasons"]


@pytest.mark.slow
def test_another_librarys_model_is_a_yaml(project, blocks, crm):
    (project / "conf" / "model" / "extra_trees.yaml").write_text(blocks["conf/model/extra_trees.yaml"], "utf-8")
    done = run(project, "mlsys.train", *crm.overrides, *SMALL, "model=extra_trees", "features=minimal", "tracking=none")
    assert done.returncode == 0, done.stderr
