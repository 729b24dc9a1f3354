"""The index of runs: what it caches, which changes it detects, and how it recovers from corruption."""

import logging
import multiprocessing
import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
import yaml

from mlsys.errors import ConfigError, RunError
from mlsys.runs import RunWriter, list_runs
from mlsys.runs.catalog import index
from mlsys.runs.catalog.index import RunIndex, default_file
from mlsys.runs.catalog.query import query_runs
from tests.waiting import HANG


def write(folder: Path, *, auc: float = 0.7, status: str = "complete", **config: object) -> Path:
    writer = RunWriter(folder)
    settings = {"seed": 1, "tags": ["first"], "model": {"max_depth": 3}, "choices": {"model": "xgboost"}} | config
    writer.write_text("config.yaml", yaml.safe_dump(settings))
    if status in ("complete", "trial"):
        overall = {"roc_auc": {"value": auc}, "precision@10": {"value": auc / 10}, "log_loss": {"value": 1 - auc}}
        writer.write_json("metrics.json", {"overall": overall})
    writer.write_text("card.md", f"# {folder.name}\n")
    writer.finish(seed=1, threads=1, status=status)  # type: ignore[arg-type]
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    for number in range(4):
        write(folder / "outputs" / str(number), auc=0.6 + 0.1 * number, choices={"model": "ab"[number % 2]})
    write(folder / "multirun" / "s" / "0", status="pruned")
    (folder / "outputs" / "killed").mkdir()
    (folder / "outputs" / "killed" / "config.yaml").write_text("choices: {model: a}\n")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> RunIndex:
    return RunIndex(tmp_path / "cache" / "runs.sqlite")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that are read."""
    seen: list[str] = []
    original = index.read_row

    def read_row(folder):
        seen.append(folder.name)
        return original(folder)

    monkeypatch.setattr(index, "read_row", read_row)
    return seen


def state(rows):
    return {row.path.name: row.status for row in rows}


def test_rows_equal_those_of_a_plain_scan(root, runs):
    for _ in range(2):
        rows = sorted(runs.rows(root), key=lambda row: row.created, reverse=True)
        assert rows == list_runs(root)


def test_only_what_changed_is_read_again(root, runs, reads):
    assert len(runs.rows(root)) == 6
    assert len(reads) == 6
    runs.rows(root)
    assert len(reads) == 6
    shutil.rmtree(root / "outputs" / "2")
    write(root / "outputs" / "2", auc=0.99)
    write(root / "outputs" / "new")
    shutil.rmtree(root / "outputs" / "3")
    rows = runs.rows(root)
    assert sorted(reads[6:]) == ["2", "new"]
    assert {row.path.name: row.metrics.get("roc_auc") for row in rows}["2"] == 0.99
    assert "3" not in state(rows)


def test_a_run_that_finishes_is_read_again(root, runs):
    assert state(runs.rows(root))["killed"] == "incomplete"
    shutil.rmtree(root / "outputs" / "killed")
    write(root / "outputs" / "killed")
    assert state(runs.rows(root))["killed"] == "complete"


def test_listing_a_subfolder_keeps_the_other_rows(root, runs, reads):
    runs.rows(root)
    assert state(runs.rows(root / "multirun")) == {"0": "pruned"}
    runs.rows(root)
    assert len(reads) == 6


def test_a_folder_whose_name_starts_like_another(tmp_path, runs):
    write(tmp_path / "a" / "x")
    write(tmp_path / "a-b" / "y")
    runs.rows(tmp_path / "a-b")
    assert state(runs.rows(tmp_path / "a")) == {"x": "complete"}


def test_a_link_to_a_folder_is_resolved(root, runs, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert {row.path for row in runs.rows(tmp_path / "link")} == {row.path for row in runs.rows(root)}


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to be looked at" * 40])
def test_a_corrupt_file_is_recreated(root, runs, content):
    expected = runs.rows(root)
    runs.file.write_bytes(content)
    assert runs.rows(root) == expected
    assert runs.file.read_bytes().startswith(b"SQLite format 3")


def test_a_file_corrupt_in_the_middle_is_recreated(root, runs):
    expected = runs.rows(root)
    data = bytearray(runs.file.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    runs.file.write_bytes(data)
    assert runs.rows(root) == expected


def test_a_missing_file_is_recreated(root, runs):
    expected = runs.rows(root)
    runs.file.unlink()
    assert runs.rows(root) == expected


def test_a_file_of_another_version_is_emptied(root, runs, reads):
    expected = runs.rows(root)
    with sqlite3.connect(runs.file) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("ALTER TABLE runs ADD COLUMN more TEXT")
    connection.close()
    assert runs.rows(root) == expected
    assert len(reads) == 12


def test_without_a_writable_file_every_run_is_read_with_one_warning(root, tmp_path, caplog):
    (tmp_path / "file").touch()
    runs = RunIndex(tmp_path / "file" / "runs.sqlite")
    with caplog.at_level(logging.WARNING):
        found = query_runs(runs, root, where="model.max_depth=3 and status!=tampered")
    assert found.total == 5
    assert "cannot be written" in caplog.text
    assert caplog.text.count("cannot be written") == 1


def test_the_file_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_file() == tmp_path / "mlsys" / "runs.sqlite"


def _list(file, root, started, results):
    started.wait()
    try:
        results.put([(str(row.path), row.status) for row in RunIndex(Path(file)).rows(Path(root))])
    except BaseException as error:
        results.put(repr(error))
        raise


@pytest.mark.parametrize("corrupt", [False, True])
def test_two_processes_at_once(tmp_path, monkeypatch, corrupt):
    root, file = tmp_path / "work", tmp_path / "runs.sqlite"
    for number in range(60):
        write(root / "outputs" / str(number))
    if corrupt:
        file.write_bytes(b"corrupt" * 500)
    context = multiprocessing.get_context("fork")
    started, results = context.Barrier(3), context.Queue()
    workers = [context.Process(target=_list, args=(file, root, started, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=HANG) for _ in workers]
    for worker in workers:
        worker.join(HANG)
    assert all(sorted(each) == sorted(found[0]) for each in found)
    assert len(found[0]) == 60
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (60,)
    connection.close()


def edit(path: Path, text: str, *, when: float = 5) -> None:
    path.write_text(text)
    os.utime(path, (time.time() + when, time.time() + when))


def test_tampered_runs_are_marked(root, runs):
    runs.rows(root)
    edit(root / "outputs" / "0" / "card.md", "# 9\n")  # the same size
    edit(root / "outputs" / "1" / "card.md", "# 1, and more\n", when=-9e6)
    (root / "outputs" / "2" / "card.md").unlink()
    (root / "outputs" / "3" / "added.txt").touch()
    found = {row.path.name: row for row in query_runs(runs, root / "outputs").rows}
    assert [found[name].status for name in "0123"] == ["tampered"] * 4
    problems = [found[name].problem for name in "0123"]
    for problem, part in zip(
        problems, ("changed: card.md (sha256", "bytes", "missing: card.md", "extra:"), strict=True
    ):
        assert part in problem
    assert query_runs(runs, root, where="status=tampered").total == 4


def test_a_restored_run_is_no_longer_tampered(root, runs):
    path = root / "outputs" / "0" / "card.md"
    edit(path, "# 9\n")
    assert query_runs(runs, root, where="status=tampered").total == 1
    edit(path, "# 0\n")
    assert query_runs(runs, root, where="status=tampered").total == 0


def test_times_of_copied_files_do_not_matter(root, runs):
    for number, path in enumerate(sorted((root / "outputs" / "0").iterdir(), reverse=True)):
        os.utime(path, (1e9 + number, 1e9 + number))
    assert query_runs(runs, root, where="status=tampered").total == 0


def test_verify_detects_changes_with_a_reset_time_and_caches_the_result(root, runs):
    path = root / "outputs" / "0" / "card.md"
    before = path.stat()
    path.write_text("# 9\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert query_runs(runs, root, where="status=tampered").total == 0
    assert state(query_runs(runs, root, verify=True).rows)["0"] == "tampered"
    assert query_runs(runs, root, where="status=tampered").total == 1


def test_unchanged_runs_are_not_compared_again(root, runs, monkeypatch):
    query_runs(runs, root)
    monkeypatch.setattr(index, "changes", lambda *arguments: pytest.fail("compared again"))
    query_runs(runs, root)


def test_a_damaged_manifest_is_a_row(root, runs):
    (root / "outputs" / "0" / "manifest.json").write_text("{[")
    found = {row.path.name: row for row in query_runs(runs, root).rows}
    assert found["0"].status == "damaged"
    assert "manifest.json" in found["0"].problem


def names(found):
    return [row.path.name for row in found.rows]


def test_filters_sorting_and_limits(root, runs):
    assert names(query_runs(runs, root, where="model=a and roc_auc>0.5")) == ["2", "0"]
    assert names(query_runs(runs, root, where="roc_auc!=null", sort="-roc_auc")) == ["3", "2", "1", "0"]
    assert names(query_runs(runs, root, where="roc_auc!=null", sort="model,-precision@10")) == ["2", "0", "3", "1"]
    assert names(query_runs(runs, root, sort="roc_auc"))[:4] == ["0", "1", "2", "3"]
    assert names(query_runs(runs, root, sort="-roc_auc"))[:4] == ["3", "2", "1", "0"]
    found = query_runs(runs, root, sort="-roc_auc", limit=2)
    assert (names(found), found.total) == (["3", "2"], 6)
    assert found.values[0] == {"roc_auc": pytest.approx(0.9)}


def test_filters_by_config_keys_and_tags(root, runs):
    write(root / "outputs" / "deep", model={"max_depth": 9, "name": "x"}, tags=["deep", "second"])
    assert names(query_runs(runs, root, where="model.max_depth>3")) == ["deep"]
    assert names(query_runs(runs, root, where="tags=second")) == ["deep"]
    assert names(query_runs(runs, root, where="choices.model=b", sort="path")) == ["1", "3"]
    assert query_runs(runs, root, where="model.name=null").total == 6
    assert names(query_runs(runs, root, where="model.max_depth!=null", sort="-model.max_depth"))[0] == "deep"


@pytest.mark.parametrize(
    ("where", "sort", "closest"),
    [
        ("modle=a", None, "model"),
        ("model.maxdepth=3", None, "model.max_depth"),
        ("precision@11>0", None, "precision@10"),
        (None, "-rocauc", "roc_auc"),
        ("status=complet", None, "complete"),
        ("roc_auc>high", None, None),
    ],
)
def test_unknown_names_and_values_are_rejected_with_the_closest(root, runs, where, sort, closest):
    with pytest.raises(ConfigError) as error:
        query_runs(runs, root, where=where, sort=sort)
    assert error.value.problems[0].closest == closest


def test_a_known_metric_is_accepted_even_if_no_run_has_it(root, runs):
    with pytest.raises(ConfigError):
        query_runs(runs, root, sort="-ece")
    assert query_runs(runs, root, where="ece=null", sort="-ece", metrics=["ece"]).total == 6
    with pytest.raises(ConfigError, match="a number, because ece is numeric"):
        query_runs(runs, root, where="ece>high", metrics=["ece"])


def test_no_runs_and_no_folder(tmp_path, runs):
    assert query_runs(runs, tmp_path, where="anything=1").rows == []
    with pytest.raises(RunError, match="Folder not found"):
        query_runs(runs, tmp_path / "nowhere")
