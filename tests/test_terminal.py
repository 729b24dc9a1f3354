"""Text on the terminal: as it is, in every table and line."""

import io
from types import SimpleNamespace

import optuna
import pytest
import yaml
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial
from rich.table import Table
from rich.text import Text

from mlsys.runs.writer import RunWriter
from mlsys.sweep.grid import show_leaderboard
from mlsys.sweep.progress import Progress
from mlsys.sweep.results import SweepResults
from mlsys.terminal import Terminal

HOSTILE = ["data.drop=[seats]", "data.drop=['[/b]']", "[red]x", r"a\[b]", ":x:", "[link=http://h]y[/link]"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_printed_as_it_is(text):
    file = io.StringIO()
    terminal = Terminal(file, width=20)
    terminal.print_line(text)
    table = Table(text, box=None, pad_edge=False)
    table.add_row(text)
    terminal.print_wide(table)
    terminal.print(text, style="bold", soft_wrap=True)
    assert [line.rstrip() for line in file.getvalue().splitlines()] == [text] * 4


def test_control_characters_and_lone_surrogates_are_shown():
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    terminal = Terminal(file, width=60)
    table = Table("name", box=None, pad_edge=False)
    table.add_row("a\x1b]0;title\x07b")
    terminal.print_wide(table)
    terminal.print(Text("\x1b[31mred", "bold"))
    terminal.print_line("\x1b[2J \x9b2J run-\udcff")
    file.seek(0)
    assert file.read().splitlines()[1:] == ["a␛]0;title␇b", "␛[31mred", "␛[2J �2J run-�"]


def test_a_grids_leaderboard_shows_overrides_as_they_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    writer = RunWriter(tmp_path / "0")
    writer.write_text("overrides.yaml", yaml.safe_dump([{"override": text} for text in HOSTILE]))
    writer.write_json("metrics.json", {"overall": {"roc_auc": {"value": 0.9}}})
    writer.finish(seed=1, threads=1)
    show_leaderboard(tmp_path, OmegaConf.create({"objective": "roc_auc"}))
    assert " ".join(HOSTILE) in capsys.readouterr().out


def test_a_sweep_shows_parameters_and_errors_as_they_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    study = optuna.create_study()
    for text in HOSTILE:
        distribution = CategoricalDistribution([text, "none"])
        study.add_trial(create_trial(value=1.0, params={"drop": text}, distributions={"drop": distribution}))
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={"error": " ".join(HOSTILE)}))
    settings = SimpleNamespace(n_trials=9)
    config = OmegaConf.create({"objective": "log_loss"})
    sweep = SimpleNamespace(config=config, directions=["minimize"], settings=settings, folder=tmp_path)
    shared = SimpleNamespace(trials=lambda: study.get_trials(deepcopy=False))
    live = io.StringIO()
    progress = Progress(sweep, shared, Terminal(live, force_terminal=True, width=300))
    with progress:
        progress.update()
    progress.print_summary(SweepResults(sweep, study.trials, study))
    printed = capsys.readouterr().out
    assert f"failed: {' '.join(HOSTILE)}" in live.getvalue()
    assert f"failed: {' '.join(HOSTILE)}" in printed
    assert [text for text in HOSTILE if f"drop={text}" not in printed] == []
