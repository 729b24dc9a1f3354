"""An uplift run from its table to its answers: trained, replayed, served and scored."""

import io
import json
import subprocess
import sys

import jsonschema
import numpy as np
import pandas as pd
import pytest

from mlsys.runs import Run
from mlsys.runs.golden import all_outputs, check_golden
from tests.pipeline.test_uplift import campaign
from tests.serve.conftest import inside_of  # noqa: F401 - a fixture

OUTPUTS = ["uplift", "probability_if_treated", "probability_if_not"]
SMALL = (
    "model.outcome.n_estimators=30",
    "model.effect.n_estimators=20",
    "metrics.bootstrap_resamples=100",
    "threads=1",
)


@pytest.fixture(scope="module")
def campaign_file(tmp_path_factory):
    """A campaign, with the words of its raw table."""
    inputs, labels, effects = campaign(2_500, 5)
    file = tmp_path_factory.mktemp("campaign") / "campaign.csv"
    rows = inputs.assign(mail=inputs["mail"].map({"sent": "Letter", "none": "Nothing"}), won=labels)
    rows.assign(lead=[f"L{number}" for number in range(len(rows))], effect=effects).to_csv(file, index=False)
    return file


@pytest.fixture(scope="module")
def trained(campaign_file):
    """The run, and what it printed."""
    folder = campaign_file.parent
    data = [f"data.path={campaign_file}", "data.target=won", "data.id=lead", "data.drop=[effect]"]
    treatment = ["data.treatment=mail", "data.treated=letter", f"data.cache_dir={folder / 'cache'}"]
    command = ["data=table", *data, *treatment, "model=uplift", "tracking=none", f"hydra.run.dir={folder / 'run'}"]
    done = subprocess.run(
        [sys.executable, "-m", "mlsys.train", *command, *SMALL], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Run.open(folder / "run"), done.stdout


@pytest.fixture(scope="module")
def inside(trained, inside_of):  # noqa: F811
    return inside_of(trained[0])


def test_it_says_whom_to_contact(trained):
    run, printed = trained
    words = " ".join(printed.split())
    assert "Of 1,000 rows, contacting the 300 with the highest uplift gains" in words
    assert "qini" in printed
    assert "not which ones a call would persuade" not in run.card
    assert "plots/uplift.png" in run.manifest.files
    assert "by uplift, scored by a model" in (run.path / "report.html").read_text(encoding="utf-8")
    check = next(check for check in run.audit["checks"] if check["name"] == "treatment")
    assert check["status"] == "pass"


def test_the_run_has_the_uplift_of_each_row(trained, campaign_file):
    run, _ = trained
    effects = pd.read_csv(campaign_file).set_index("lead")["effect"]
    rows = run.predictions.set_index("id")
    assert np.corrcoef(rows["uplift"], effects[rows.index])[0, 1] > 0.6
    assert rows["treated"].mean() == pytest.approx(0.5, abs=0.05)
    assert run.metrics["overall"]["qini"]["low"] > 0
    check_golden(run)


def test_the_schema_lists_the_outputs_and_the_treatment_may_be_unknown(trained):
    schema = trained[0].schema
    assert [output["name"] for output in schema["outputs"]] == OUTPUTS
    treatment = next(entry for entry in schema["inputs"] if entry["name"] == "mail")
    assert treatment["description"] == "mail: treatment, Letter (treated) or Nothing (control)"
    assert [entry["name"] for entry in schema["inputs"] if entry["nullable"]] == ["mail"]
    arms = [{"cell": each, "value": each} for each in ("Letter", "Nothing")]
    assert [entry.get("allowed") for entry in schema["inputs"] if entry["name"] != "mail"] == [None] * 3
    assert treatment["allowed"] == arms


def test_the_replay_is_identical(trained, mlsys):
    code, out, err = mlsys("replay", trained[0].path)
    assert (code, out.strip().splitlines()[-1]) == (0, "identical"), err


def test_answers_have_the_uplift(inside, trained, campaign_file):
    run, _ = trained
    rows = pd.read_csv(campaign_file).head(30).drop(columns=["won", "effect"])
    golden = run.golden.drop(columns=["score", "probability", *OUTPUTS]).head(12)
    records = golden.astype(object).to_dict("records")
    expected = all_outputs(run.model, run.calibration, golden)
    document = inside.get("/openapi.json").json()
    for record, row in zip(records, expected.itertuples(), strict=True):
        answer = inside.post("/predict", record).json()
        jsonschema.validate(
            answer, {**document["components"]["schemas"]["Prediction"], "components": document["components"]}
        )
        assert [answer[name] for name in OUTPUTS] == pytest.approx([getattr(row, name) for name in OUTPUTS], abs=1e-9)
        assert answer["probability"] == pytest.approx(row.probability, abs=1e-9)
    batch = inside.post("/predict/batch", {"records": records}).json()
    jsonschema.validate(
        batch, {**document["components"]["schemas"]["Predictions"], "components": document["components"]}
    )
    for name in OUTPUTS:
        assert [each[name] for each in batch["predictions"]] == pytest.approx(expected[name].tolist(), abs=1e-9)
    headers = {"content-type": "text/csv", "accept": "text/csv"}
    scored = inside("POST", "/predict/batch", content=rows.to_csv(index=False).encode(), headers=headers)
    table = pd.read_csv(io.BytesIO(scored.content))
    assert list(table.columns) == ["lead", "probability", "decision", *OUTPUTS, "warnings"]


def test_the_uplift_is_the_same_whatever_the_arm(inside, trained):
    record = trained[0].golden.iloc[0].drop(["score", "probability", *OUTPUTS]).to_dict()
    answers = [inside.post("/predict", record | {"mail": arm}).json() for arm in ("Letter", "Nothing", None)]
    treated, control, unknown = (answer["probability"] for answer in answers)
    assert len({tuple(answer[name] for name in OUTPUTS) for answer in answers}) == 1
    assert (treated, control) == (answers[0]["probability_if_treated"], answers[0]["probability_if_not"])
    assert min(treated, control) < unknown < max(treated, control)


def test_reasons_include_the_treatment(inside, trained):
    record = trained[0].golden.iloc[0].drop(["score", "probability", *OUTPUTS]).to_dict()
    answer = inside.post("/predict?explain=all", record).json()
    parts = {reason["field"]: reason["contribution"] for reason in answer["reasons"]["top"]}
    assert set(parts) == {"age", "size", "plan", "mail"}
    assert answer["reasons"]["base"] + sum(parts.values()) == pytest.approx(answer["reasons"]["total"], abs=1e-4)


def test_new_leads_are_ranked_by_uplift(trained, campaign_file, mlsys, tmp_path):
    new = pd.read_csv(campaign_file).head(40).drop(columns=["won", "effect"]).assign(mail="")
    new.to_csv(tmp_path / "new.csv", index=False)
    code, out, err = mlsys("score", trained[0].path, tmp_path / "new.csv", "--json", "--top", "5")
    assert code == 0, err
    rows = json.loads(out)
    assert [row["uplift"] for row in rows] == sorted((row["uplift"] for row in rows), reverse=True)
    assert set(rows[0]) == {"lead", "probability", "decision", *OUTPUTS}


def test_the_page_ranks_by_uplift_and_says_so(inside):
    page = inside.get("/").text
    assert "with the rows that the treatment helps most first" in page
    assert "In tests, the treatment raised the rate of this outcome by" in page
