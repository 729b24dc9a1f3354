"""Messages to the user: one line that says what to do."""

import pytest

from mlsys.tracking.base import Receipt
from mlsys.tracking.messages import run_message, sweep_messages
from mlsys.tracking.receipts import write_receipt

FAILED = Receipt("failed", reason="no answer within 15 s")
OFFLINE = Receipt("offline", "wandb/offline-run-1", "no API key", "wandb login && wandb sync wandb/offline-run-1")


def test_the_message_of_each_state(tmp_path, make_run, monkeypatch):
    make_run("a")
    assert run_message(tmp_path / "a", "wandb", OFFLINE) == (
        "wandb: offline (no API key). To upload: wandb login && wandb sync wandb/offline-run-1"
    )
    line = run_message(tmp_path / "a", "mlflow", FAILED)
    assert "no answer within 15 s" in line
    assert line.endswith("mlsys track a --to mlflow")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert run_message(tmp_path / "a", "mlflow", FAILED).endswith(f"mlsys track {tmp_path / 'a'} --to mlflow")
    assert run_message(tmp_path / "killed", "mlflow", FAILED) == "mlflow: not sent (no answer within 15 s)"


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (["online"], "wandb: 1 run online"),
        (["online", "online"], "wandb: 2 runs online"),
        (
            ["online", "failed"],
            "wandb: 1 run online, 1 not sent (no answer within 15 s). To send it later: mlsys track sweep --to wandb",
        ),
        (
            ["offline", "offline"],
            "wandb: 2 offline (no API key). To send them later: mlsys track sweep --to wandb",
        ),
    ],
)
def test_counts_in_the_message_of_a_sweep(make_run, tmp_path, states, message):
    receipts = {"online": Receipt("online", "there"), "offline": OFFLINE, "failed": FAILED}
    for number, state in enumerate(states):
        write_receipt(make_run(f"sweep/{number}").path, "wandb", receipts[state])
    assert sweep_messages(tmp_path / "sweep") == [message]


def test_a_sweep_has_one_message_per_tracker(make_run, tmp_path):
    receipts = [Receipt("online", "there"), FAILED, FAILED]
    for number, receipt in enumerate(receipts):
        write_receipt(make_run(f"sweep/{number}").path, "wandb", receipt)
    write_receipt(tmp_path / "sweep/0", "mlflow", Receipt("online", "sqlite:///mlflow.db run 1"))
    assert sweep_messages(tmp_path / "sweep") == [
        "mlflow: 1 run online",
        "wandb: 1 run online, 2 not sent (no answer within 15 s). To send them later: mlsys track sweep --to wandb",
    ]


def test_an_untracked_sweep_has_no_message(make_run, tmp_path):
    make_run("sweep/0")
    assert sweep_messages(tmp_path / "sweep") == []
