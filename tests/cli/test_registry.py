"""`mlsys registry`: output as text and as JSON, and exit codes."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.registry.conftest import runs  # noqa: F401 - a fixture


@pytest.fixture
def mlsys(mlsys):
    """Run a command of the registry in this process; returns exit code, standard output and standard error."""
    return partial(mlsys, "registry")


@pytest.fixture
def work(tmp_path, monkeypatch, runs) -> Path:  # noqa: F811
    """A working folder with runs in outputs/."""
    (tmp_path / "outputs").symlink_to(runs.first.path.parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLSYS_REGISTRY", raising=False)
    return tmp_path


@pytest.fixture
def registered(mlsys, work):
    """Two versions, the first the champion."""
    mlsys("add", "first", "--name", "leads")
    mlsys("promote", "leads")
    mlsys("add", "tuned", "--name", "leads", "--reason", "deeper trees")
    return work / "registry" / "leads"


def test_the_first_commands(mlsys, work):
    code, out, _ = mlsys("list")
    assert (code, out) == (0, "No models in registry. Add one with `mlsys registry add latest --name NAME`.\n")
    code, out, _ = mlsys("add", "first", "--name", "leads")
    assert (code, out.splitlines()) == (
        0,
        ["Added leads 1.0.0 (major: the first version).", "Next: mlsys registry promote leads@1.0.0"],
    )
    code, out, _ = mlsys("add", "first", "--name", "leads")
    assert (code, out) == (0, "leads 1.0.0 is already this run; nothing was added.\n")
    code, out, _ = mlsys("promote", "registry:leads@1.0.0")
    assert code == 0
    assert "No champion yet to compare with." in out
    assert out.endswith("leads 1.0.0 is now the champion.\n")
    code, out, _ = mlsys("promote", "leads")
    assert (code, out) == (0, "leads 1.0.0 is already the champion; nothing was changed.\n")


def test_latest_is_the_run_that_ended_last(mlsys, work):
    code, out, _ = mlsys("add", "latest", "--name", "leads", "--json")
    result = json.loads(out)
    assert (code, result["version"], Path(result["run"]).name) == (0, "1.0.0", "poor")
    assert result["bump"] == {"part": "major", "reasons": ["the first version"]}


def test_a_failed_gate_is_exit_code_1_with_the_reason(mlsys, registered):
    mlsys("add", "poor", "--name", "leads")
    code, out, _ = mlsys("promote", "leads@2.0.0")
    assert code == 1
    assert "roc_auc         FAILED" in out
    assert "the margin is 0.02" in out
    assert "Not promoted: leads 2.0.0 failed the gate." in out
    code, out, _ = mlsys("promote", "leads@2.0.0", "--json")
    result = json.loads(out)
    assert (code, result["entry"], result["gate"]["passed"], result["gate"]["champion"]) == (
        1,
        None,
        False,
        "1.0.0",
    )
    code, _, err = mlsys("promote", "leads@2.0.0", "--force")
    assert code == 2
    assert "--reason" in err
    code, out, _ = mlsys("promote", "leads@2.0.0", "--force", "--reason", "seats are needed")
    assert code == 0
    assert out.endswith("leads 2.0.0 is now the champion, replacing 1.0.0 (forced).\n")
    code, out, _ = mlsys("history", "leads")
    assert "forced: seats are needed" in out
    code, out, _ = mlsys("rollback", "leads", "--reason", "no better")
    assert (code, out) == (0, "Rolled back: leads 1.0.0 is the champion again, not 2.0.0.\n")
    code, _, err = mlsys("rollback", "leads")
    assert code == 1
    assert "no previous champion" in err


def test_metric_margin_and_the_registrys_own_gate(mlsys, registered):
    mlsys("add", "poor", "--name", "leads")
    code, _, err = mlsys("promote", "leads@2.0.0", "--metric", "rocauc")
    assert code == 2
    assert "closest: roc_auc" in err
    code, out, _ = mlsys("promote", "leads@2.0.0", "--metric", "log_loss", "--margin", "9")
    assert code == 0
    assert "the margin is 9" in out
    gate = Path(__file__).parents[2] / "conf" / "gate.yaml"
    (registered.parent / "gate.yaml").write_text(gate.read_text().replace("roc_auc  ", "brier  "))
    code, out, _ = mlsys("promote", "leads@1.1.0")
    assert code == 0
    assert "brier" in out


def test_tables_and_json_agree(mlsys, registered):
    mlsys("alias", "leads@1.1.0", "challenger", "--reason", "on trial")
    _, out, _ = mlsys("list")
    assert out.splitlines()[1].split()[:3] == ["leads", "1.1.0", "challenger"]
    rows = json.loads(mlsys("list", "leads", "--json")[1])
    assert [(row["version"], row["aliases"], row["reason"]) for row in rows] == [
        ("1.1.0", ["challenger"], "deeper trees"), ("1.0.0", ["champion"], None),
    ]  # fmt: skip
    entries = json.loads(mlsys("history", "leads", "--json")[1])
    assert [(line["action"], line["from"], line["to"]) for line in entries] == [
        ("add", None, "1.0.0"), ("promote", None, "1.0.0"), ("add", "1.0.0", "1.1.0"), ("alias", None, "1.1.0"),
    ]  # fmt: skip
    shown = json.loads(mlsys("show", "leads@challenger", "--json")[1])
    assert (shown["version"], shown["audit"], shown["inputs"]) == ("1.1.0", "pass", 2)
    _, out, _ = mlsys("show", "leads@challenger")
    assert "path: registry/leads/versions/1.1.0" in out
    assert "on trial" in out


def test_reasons_are_printed_as_they_are(mlsys, registered):
    assert mlsys("alias", "leads@1.0.0", "old", "--reason", "[/b] [seats] :x:")[0] == 0
    assert "[/b] [seats] :x:" in mlsys("history", "leads")[1]
    assert "[/b] [seats] :x:" in mlsys("show", "leads@1.0.0")[1]


def test_aliases_are_set_and_removed(mlsys, registered):
    assert mlsys("alias", "leads", "next")[1] == "leads@next now points at 1.1.0.\n"
    assert mlsys("alias", "leads", "next")[1] == "leads@next already points at 1.1.0; nothing was changed.\n"
    assert mlsys("alias", "leads", "next", "--remove")[1] == "Removed leads@next; it pointed at 1.1.0.\n"
    code, _, err = mlsys("alias", "leads", "champion")
    assert code == 2
    assert "`mlsys registry promote` and `rollback` move it" in err
    assert mlsys("rollback", "leads@1.0.0")[0] == 2


def test_verify_is_exit_code_1_for_damage_alone(mlsys, registered):
    assert mlsys("verify") == (0, "No damage found in 1 model in registry.\n", "")
    shutil.copytree(registered / "versions" / "1.1.0", registered / ".adding-1.2.0")
    code, out, _ = mlsys("verify", "leads")
    assert (code, "unfinished" in out) == (0, True)
    history = registered / "history.jsonl"
    history.write_bytes(history.read_bytes()[:-3])
    code, out, _ = mlsys("verify", "--json")
    assert code == 1
    assert [(found["where"], found["level"]) for found in json.loads(out)] == [("history", "damage")]
    code, _, err = mlsys("list")
    assert code == 1
    assert "restore the file from a backup" in err
    code, _, err = mlsys("verify", "lead")
    assert code == 1
    assert "closest: leads" in err


def test_the_location_is_an_option_and_a_missing_extra_is_an_error(mlsys, work, monkeypatch):
    mlsys("add", "first", "--name", "leads", "--registry", "elsewhere")
    monkeypatch.setenv("MLSYS_REGISTRY", "elsewhere")
    assert "1.0.0" in mlsys("list")[1]
    monkeypatch.setattr("mlsys.registry.mlflow_runs.find_spec", lambda name: None)
    code, _, err = mlsys("list", "--registry", "mlflow")
    assert code == 1
    assert "pip install 'mlsys[mlflow]'" in err


def test_wrong_usage_is_exit_code_2(mlsys, work):
    assert mlsys("add", "first", "--name", "leads", "--bump", "huge")[0] == 2
    assert mlsys("add", "first")[0] == 2


def test_help_is_quick_and_has_examples():
    commands = ("add", "list", "show", "promote", "rollback", "alias", "history", "verify")
    code = (
        "import sys; from typer.testing import CliRunner; from mlsys.cli.main import app\n"
        f"for name in {commands}:\n"
        "    done = CliRunner().invoke(app, ['registry', name, '--help'])\n"
        "    assert 'Example: mlsys registry ' + name in done.output, done.output\n"
        "print([n for n in ('pandas', 'numpy', 'sklearn', 'mlflow', 'mlsys.registry') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
