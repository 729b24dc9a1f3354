"""The documentation's way to a model of one's own, followed to the letter in a copy of the project."""

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

from mlsys.launch import conf_folder
from mlsys.runs.golden import output_names

ROOT = Path(__file__).parents[1]
SMALL = ["threads=1", "metrics.bootstrap_resamples=20", "split.folds=2", "features=minimal"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the packages and the config groups; commands run in it find it before what is installed."""
    folder = tmp_path_factory.mktemp("project")
    for package in ("mlsys", "serve"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "conf"))
    shutil.copytree(conf_folder(), folder / "conf")
    return folder


@pytest.fixture(scope="module")
def blocks():
    """The code blocks of the section on models, by the file that their first line names."""
    section = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8").split("\n## A model\n")[1].split("\n## ")[0]
    found = re.findall(r"```\w+\n(# (\S+\.(?:py|yaml))\b.*?\n.*?)```", section, flags=re.DOTALL)
    return {name: text for text, name in found}


def run(project, *command, **environment):
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@contextmanager
def served(project, *arguments):
    """Yield a client of the service that the arguments start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serve", *arguments, "--port", "0"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), "TMPDIR": str(project)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = [process.stdout.readline() for _ in range(2)]
        assert said[1].startswith("http"), process.stderr.read()
        with httpx.Client(base_url=said[1].split()[0], timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.slow
def test_a_class_of_ones_own_from_yaml_to_served(project, blocks, crm):
    own, option, trusted = "mlsys/pipeline/ours.py", "conf/model/ours.yaml", "mlsys/runs/trusted.py"
    assert set(blocks) == {own, option, trusted}
    for name in (own, option):
        (project / name).write_text(blocks[name], encoding="utf-8")
    command = ["mlsys.train", *crm.overrides, *SMALL, "model=ours"]

    refused = run(project, *command)
    assert refused.returncode == 2, refused.stderr
    assert "model._target_" in refused.stderr
    assert "mlsys.pipeline.ours.NearerMean, which is refused when a saved model is loaded" in refused.stderr
    assert "add it to mlsys/runs/trusted.py" in refused.stderr
    assert list(project.rglob("outputs/**/*.*")) == [], "something was run"

    opening, entry = blocks[trusted].splitlines()[1:]
    text = (project / trusted).read_text(encoding="utf-8")
    (project / trusted).write_text(text.replace(f"{opening}\n", f"{opening}\n{entry}\n"), encoding="utf-8")
    done = run(project, *command)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip().splitlines()[-1])

    golden = pd.read_parquet(folder / "golden.parquet")
    _, probability = output_names(golden.columns[:-2])
    inputs = golden.iloc[:, :-2]
    assert golden[probability].nunique() > 1
    with served(project, str(folder)) as client:
        records = inputs.astype(object).where(inputs.notna(), None).to_dict("records")
        batch = client.post("/predict/batch", json={"records": records}).json()["predictions"]
        single = client.post("/predict", params={"explain": "true"}, json=records[0]).json()
    assert [row["probability"] for row in batch] == pytest.approx(golden[probability].tolist(), abs=1e-6)
    assert single["probability"] == pytest.approx(golden[probability][0], abs=1e-6)
    assert single["reasons"]
