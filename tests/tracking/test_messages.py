"""What people are told: one line, with what to do."""

from mlsys.tracking.base import Receipt
from mlsys.tracking.messages import of_run, of_sweep
from mlsys.tracking.receipts import note_receipt

FAILED = Receipt("failed", reason="no answer within 15 s")
OFFLINE = Receipt("offline", "wandb/offline-run-1", "no API key", "wandb login && wandb sync wandb/offline-run-1")


def test_each_state_says_what_to_do(tmp_path, make_run, monkeypatch):
    make_run("a")
    assert of_run(tmp_path / "a", "wandb", OFFLINE) == (
        "wandb: offline (no API key). To upload: wandb login && wandb sync wandb/offline-run-1"
    )
    line = of_run(tmp_path / "a", "mlflow", FAILED)
    assert "no answer within 15 s" in line
    assert line.endswith("mlsys track a --to mlflow")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert of_run(tmp_path / "a", "mlflow", FAILED).endswith(f"mlsys track {tmp_path / 'a'} --to mlflow")
    assert of_run(tmp_path / "killed", "mlflow", FAILED) == "mlflow: not sent (no answer within 15 s)"


def test_a_sweep_has_one_line_for_each_tracker(make_run, tmp_path):
    receipts = [Receipt("online", "there"), FAILED, FAILED]
    for number, receipt in enumerate(receipts):
        note_receipt(make_run(f"sweep/{number}").path, "wandb", receipt)
    note_receipt(tmp_path / "sweep/0", "mlflow", Receipt("online", "sqlite:///mlflow.db run 1"))
    assert of_sweep(tmp_path / "sweep") == [
        "mlflow: 1 run online",
        "wandb: 1 run online, 2 not sent (no answer within 15 s). Send them later: mlsys track sweep --to wandb",
    ]


def test_an_untracked_sweep_has_none(make_run, tmp_path):
    make_run("sweep/0")
    assert of_sweep(tmp_path / "sweep") == []
