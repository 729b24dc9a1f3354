"""Every command: output as a table and as JSON, and exit code."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from mlsys.cli.main import app
from mlsys.data.demo import generate


@pytest.fixture(scope="session")
def trained(tmp_path_factory, crm):
    """One run directory, made in this process."""
    from omegaconf import OmegaConf

    from mlsys.compose import compose_config
    from mlsys.prepare import prepare
    from mlsys.train import train

    folder = tmp_path_factory.mktemp("cli") / "outputs" / "day" / "run"
    small = [
        "threads=1",
        "metrics.bootstrap_resamples=10",
        "model=logistic",
        "split.folds=2",
        "features=minimal",
        "data.cache=false",
    ]
    config = compose_config([*crm.overrides, *small])
    train(prepare(OmegaConf.create(config.to_dict())), folder, [])
    return folder


def test_runs_lists_them(mlsys, trained):
    code, out, _ = mlsys("runs", trained.parents[2])
    assert code == 0
    assert "logistic" in out
    assert "complete" in out


def test_runs_as_json(mlsys, trained):
    _, out, _ = mlsys("runs", trained.parents[2], "--json")
    rows = json.loads(out)
    assert rows[0]["model"] == "logistic"
    assert rows[0]["roc_auc"] > 0.4


def test_no_runs_suggest_training(mlsys, tmp_path):
    code, out, _ = mlsys("runs", tmp_path)
    assert code == 0
    assert "make train" in out


def test_show_prints_the_card(mlsys, trained):
    code, out, _ = mlsys("show", trained)
    assert code == 0
    assert "Model card: logistic" in out
    assert "…" not in out
    assert "recall@50" not in out


def test_show_all_prints_all_metrics(mlsys, trained):
    code, out, _ = mlsys("show", trained, "--all")
    assert code == 0
    assert "Model card: logistic" in out
    assert {"recall@50", "lift@100", "brier"} <= set(out.split())


def test_show_latest(mlsys, trained, monkeypatch):
    monkeypatch.chdir(trained.parents[2])
    code, out, _ = mlsys("show", "latest", "--json")
    assert code == 0
    assert json.loads(out)["audit"]["status"] in ("pass", "warn", "fail")


def test_an_unknown_run_is_one_clear_error(mlsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = mlsys("show", "nowhere")
    assert code == 1
    assert "nowhere" in err
    assert "Traceback" not in err


def test_a_failed_run_has_nothing_to_replay(mlsys, tmp_path):
    from mlsys.runs import RunWriter

    writer = RunWriter(tmp_path / "failed")
    writer.write_text("config.yaml", "seed: 0\n")
    writer.finish(seed=0, threads=1, status="failed")
    code, _, err = mlsys("replay", tmp_path / "failed")
    assert code == 1
    assert "failed, so it has no results to compare with" in err


@pytest.mark.slow
def test_replay_is_identical_unless_the_config_changed(mlsys, trained, tmp_path):
    import shutil

    code, out, err = mlsys("replay", trained)
    assert (code, out.strip()) == (0, "identical"), err
    again = tmp_path / "again"
    code, out, _ = mlsys("replay", trained, "--keep", again, "--json")
    assert json.loads(out) == {"identical": True, "differences": []}
    # Change the saved config and write a new manifest, as if the run had been trained that way: the replay must differ.
    from mlsys.runs import RunWriter

    changed = tmp_path / "changed"
    shutil.copytree(trained, changed)
    (changed / "manifest.json").unlink()
    text = (changed / "config.yaml").read_text()
    assert "bootstrap_resamples: 10\n" in text
    text = text.replace("bootstrap_resamples: 10\n", "bootstrap_resamples: 11\n")
    (changed / "config.yaml").write_text(text)
    RunWriter(changed).finish(seed=0, threads=1)
    code, out, _ = mlsys("replay", changed)
    assert code == 1
    assert "metrics.json" in out


def test_a_missing_command_shows_help_and_is_wrong_usage(mlsys):
    code, out, err = mlsys()
    assert code == 2
    assert "replay" in out + err


def test_an_unknown_option_is_wrong_usage(mlsys):
    assert mlsys("runs", "--nonsense")[0] == 2


def test_config_schema(mlsys):
    code, out, _ = mlsys("config", "schema")
    assert code == 0
    assert json.loads(out)["title"] == "TrainConfig"


def test_data_demo(mlsys, tmp_path):
    code, out, _ = mlsys("data", "demo", "--out", tmp_path / "demo", "--events", "3000", "--json")
    assert code == 0
    assert json.loads(out)["events"] >= 3000
    assert len(pd.read_parquet(tmp_path / "demo" / "usage_actions.parquet")) >= 3000


def test_data_validate_lists_findings(mlsys, tmp_path):
    generate(tmp_path, events=3000)
    code, out, _ = mlsys("data", "validate", "data=hubspot", f"data.dir={tmp_path}", "--json")
    assert code == 0
    assert {"duplicate_ids", "non_positive_value"} <= {finding["rule"] for finding in json.loads(out)}


def test_data_validate_with_a_custom_option(mlsys, tmp_path, crm):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ours.yaml").write_text(f"defaults: [hubspot, _self_]\ndir: {crm.folder}\n")
    code, out, err = mlsys("data", "validate", "data=ours", "--config-dir", tmp_path, "--json")
    assert (code, err) == (0, "")
    assert isinstance(json.loads(out), list)


def test_data_validate_with_an_error_rule(mlsys, tmp_path):
    generate(tmp_path, events=3000)
    rule = "data.rules.non_positive_value=error"
    code, _, err = mlsys("data", "validate", "data=hubspot", f"data.dir={tmp_path}", rule)
    assert code == 1
    assert "non_positive_value" in err


def test_data_describe(mlsys, crm):
    code, out, _ = mlsys("data", "describe", *crm.overrides, "--json")
    assert code == 0
    meanings = {row["column"]: row["meaning"] for row in json.loads(out)}
    assert "outcome.time" in meanings["CLOSEDATE"]


def test_data_describe_of_a_flat_table(mlsys, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,age,won\n" + "".join(f"a{i},{20 + i % 30},{'yes' if i % 3 else 'no'}\n" for i in range(60)))
    code, out, _ = mlsys("data", "describe", "data=table", f"data.path={path}", "data.target=won", "--json")
    assert code == 0
    assert {row["name"]: row["kind"] for row in json.loads(out)} == {"id": "id", "age": "number", "won": "target"}


def test_data_describe_shows_names_and_values_as_they_are(mlsys, tmp_path):
    path = tmp_path / "[b].csv"
    names = "id,[seats],[/b],:x:,[red]plan,won\n"
    path.write_text(names + "".join(f"a{i},{i},{i % 7},{i % 5},[/i],{'yes' if i % 3 else 'no'}\n" for i in range(60)))
    code, out, err = mlsys("data", "describe", "data=table", f"data.path='{path}'", "data.target=won")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[2:6]] == ["[seats]", "[/b]", ":x:", "[red]plan"]


def test_a_wrong_override_is_wrong_usage(mlsys):
    code, _, err = mlsys("data", "validate", "data=hubspott")
    assert code == 2
    assert "closest: hubspot" in err


def test_a_flat_table_has_no_contract(mlsys):
    code, _, err = mlsys("data", "validate", "data=table", "data.path=x.csv", "data.target=y")
    assert code == 2
    assert "describe" in err


def _commands(group, names=()):
    for command in group.registered_commands:
        yield [*names, command.name or command.callback.__name__]
    for sub in group.registered_groups:
        yield from _commands(sub.typer_instance, [*names, sub.name])


@pytest.mark.parametrize("command", list(_commands(app)), ids=" ".join)
def test_every_command_has_help_with_an_example(mlsys, command):
    code, out, _ = mlsys(*command, "--help")
    assert code == 0
    assert f"Example: mlsys {' '.join(command)}" in " ".join(out.split())
    example = next(line for line in out.splitlines() if "Example: mlsys" in line)
    assert out.splitlines()[out.splitlines().index(example) + 1] == "", (
        "an example broken over two lines cannot be copied"
    )


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "mlsys", "--help"], capture_output=True, text=True, check=True)
    assert "replay" in done.stdout
