import errno
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from mlsys.errors import RunError
from mlsys.runs.reader import Run
from mlsys.runs.writer import RunWriter, check_free


def finish(writer: RunWriter, **more):
    return writer.finish(seed=1, threads=1, **more)


def test_a_run_round_trips(tmp_path):
    writer = RunWriter(tmp_path / "a" / "run")
    writer.write_json("metrics.json", {"overall": {}})
    writer.write_text("plots/note.txt", "Ärzte")
    frame = pd.DataFrame({"id": ["a", None], "score": [0.1, np.nan]}, index=[5, 6]).astype({"id": "str"})
    writer.write_parquet("predictions.parquet", frame)
    writer.path("plots/deep/roc.png").write_bytes(b"png")
    manifest = finish(writer, timing={"fit": np.float64(2)}, data_fingerprint="f00", status="failed")
    run = Run.open(tmp_path / "a" / "run")
    assert run.metrics == {"overall": {}}
    assert run.read_bytes("plots/note.txt").decode() == "Ärzte"
    pd.testing.assert_frame_equal(run.predictions, frame.reset_index(drop=True))
    assert run.manifest == manifest
    assert list(manifest.files) == ["metrics.json", "plots/deep/roc.png", "plots/note.txt", "predictions.parquet"]
    assert manifest.status == "failed"


def test_no_hidden_file_is_left_after_finish(tmp_path):
    writer = RunWriter(tmp_path)
    writer.write_text("a.txt", "a")
    assert (tmp_path / ".writing").exists()
    finish(writer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "manifest.json"]


def test_hydras_log_is_part_of_the_run_but_not_its_hidden_folder(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").touch()
    (tmp_path / "train.log").write_text("started\n")
    assert list(finish(RunWriter(tmp_path)).files) == ["train.log"]


def test_equal_tables_give_equal_bytes(tmp_path):
    writer = RunWriter(tmp_path)
    frame = pd.DataFrame({"id": ["a", "b"], "score": [0.1, 0.2]})
    noted = frame.set_index(pd.Index([8, 9], name="row"))
    noted.attrs["time"] = "now"
    first, second = writer.write_parquet("a.parquet", frame), writer.write_parquet("b.parquet", noted)
    assert first.read_bytes() == second.read_bytes()
    assert noted.attrs == {"time": "now"}


def test_nothing_can_be_added_after_finish(tmp_path):
    writer = RunWriter(tmp_path)
    finish(writer)
    with pytest.raises(RunError, match=r"is finished, so a.txt cannot be added"):
        writer.write_text("a.txt", "a")
    with pytest.raises(RunError, match="is finished already"):
        finish(writer)


def test_a_finished_run_is_never_overwritten(tmp_path):
    finish(RunWriter(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match="already has a run, which is never overwritten"):
        RunWriter(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_only_one_of_many_writers_succeeds(tmp_path):
    outcomes: list[str] = []

    def claim() -> None:
        try:
            RunWriter(tmp_path / "run")
            outcomes.append("won")
        except RunError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("won") == 1
    assert sum("Another run is writing" in outcome for outcome in outcomes) == 7


def test_a_killed_run_is_incomplete_and_not_written_again(tmp_path):
    code = (
        "import os, signal, sys; from mlsys.runs import RunWriter\n"
        "RunWriter(sys.argv[1]).write_text('a.txt', 'a'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    folder = tmp_path / "run"
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == -signal.SIGKILL
    assert (folder / "a.txt").exists()
    with pytest.raises(RunError, match=r"incomplete: no manifest\.json"):
        Run.open(folder)
    with pytest.raises(RunError, match="was killed while writing"):
        RunWriter(folder)


@pytest.mark.parametrize("name", ["metrics.json", "plots/deep/a.json"])
def test_a_full_disk_is_reported_and_leaves_no_temporary_file(tmp_path, monkeypatch, name):
    writer = RunWriter(tmp_path)
    writer.write_json("before.json", {})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=rf"Could not write {name} in {tmp_path}: No space left(.|\n)*incomplete"):
        writer.write_json(name, {})
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {".writing", "before.json"}


def test_a_full_disk_leaves_no_manifest(tmp_path, monkeypatch):
    writer = RunWriter(tmp_path)
    writer.write_json("a.json", {})

    def full(path, data, *, sync):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("mlsys.runs.writer.write_atomic", full)
        with pytest.raises(RunError, match=r"Could not write manifest.json"):
            finish(writer)
    assert not (tmp_path / "manifest.json").exists()
    finish(writer)
    assert Run.open(tmp_path).read_json("a.json") == {}


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="Could not write"):
        RunWriter(tmp_path / "file" / "run")


def test_a_link_in_the_directory_is_an_error(tmp_path):
    writer = RunWriter(tmp_path / "run")
    (tmp_path / "elsewhere").touch()
    (tmp_path / "run" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="symbolic link"):
        finish(writer)
    assert not (tmp_path / "run" / "manifest.json").exists()


@pytest.mark.parametrize("name", ["../a", "manifest.json", ".hidden"])
def test_names_are_checked(tmp_path, name):
    with pytest.raises(RunError):
        RunWriter(tmp_path).write_text(name, "a")


def test_a_folder_is_free_until_a_run_claims_it(tmp_path):
    folder = tmp_path / "run"
    check_free(folder)
    writer = RunWriter(folder)
    with pytest.raises(RunError, match="Another run is writing"):
        check_free(folder)
    finish(writer)
    with pytest.raises(RunError, match="already has a run"):
        check_free(folder)
