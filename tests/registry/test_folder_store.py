"""Registry in a folder: what it stores, who may write, and what `verify` finds."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from mlsys.errors import RegistryError
from mlsys.registry import folder_store as module
from mlsys.registry.commands import add, promote, set_alias
from mlsys.registry.folder import resolve
from mlsys.registry.names import Reference
from mlsys.runs import Run


@pytest.fixture
def registered(folder_store, runs, gate):
    """A registry with two versions, the first one the champion."""
    add(folder_store, runs.first, "leads")
    promote(folder_store, Reference("leads"), gate)
    add(folder_store, runs.again, "leads")
    return folder_store


def version_folder(store, version) -> Path:
    return store.root / "leads" / "versions" / version


def edit(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def findings(store, level="damage"):
    return [(found.where, found.problem) for found in store.findings("leads") if found.level == level]


def test_a_version_is_a_copy(registered, runs):
    copy = version_folder(registered, "1.0.0")
    assert Run.open(copy).manifest == runs.first.manifest
    for name in runs.first.manifest.files:
        assert not (copy / name).samefile(runs.first.path / name)
        assert (copy / name).stat().st_nlink == 1
        assert (copy / name).stat().st_mode & 0o222 == 0


def test_hidden_files_are_not_copied(folder_store, runs, tmp_path):
    shutil.copytree(runs.first.path, tmp_path / "run")
    (tmp_path / "run" / ".hydra").mkdir()
    add(folder_store, Run.open(tmp_path / "run"), "leads")
    assert not (version_folder(folder_store, "1.0.0") / ".hydra").exists()


def test_a_run_that_changes_during_the_copy_is_not_added(folder_store, runs, tmp_path):
    shutil.copytree(runs.first.path, tmp_path / "run")
    opened = Run.open(tmp_path / "run")
    edit(tmp_path / "run" / "card.md", b"edited")
    with pytest.raises(RegistryError, match=r"card\.md changed while it was copied"):
        add(folder_store, opened, "leads")
    assert {path.name for path in (folder_store.root / "leads").iterdir()} == {".lock", "versions"}
    assert folder_store.names() == []


def test_a_copy_across_file_systems(folder_store, runs, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    add(folder_store, runs.first, "leads")
    assert folder_store.findings("leads") == []


def test_concurrent_writers_lose_no_change(registered):
    def work(number):
        for turn in range(8):
            set_alias(registered, Reference("leads"), f"a{number}-{turn}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = registered.state("leads")
    assert len(state.entries) == 3 + 32
    assert len(state.aliases) == 1 + 32


def test_waiting_for_a_lock_times_out(registered, monkeypatch):
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.1)
    with registered._locked("leads"), pytest.raises(RegistryError, match=r"was locked by other commands"):
        set_alias(registered, Reference("leads"), "a")


def test_a_full_disk_changes_nothing(registered, runs, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomic", full)
    with pytest.raises(RegistryError, match="No space left on device"):
        add(registered, runs.tuned, "leads")
    monkeypatch.undo()
    assert list(registered.state("leads").added) == ["1.0.0", "1.0.1"]
    set_alias(registered, Reference("leads"), "a")  # cleans up
    assert registered.findings("leads") == []


def test_verify_finds_changed_missing_and_foreign_files(registered):
    edit(version_folder(registered, "1.0.0") / "card.md", b"edited")
    (version_folder(registered, "1.0.1") / "schema.json").unlink()
    (version_folder(registered, "1.0.1") / "notes.txt").write_text("?")
    found = findings(registered)
    assert [where for where, _ in found] == ["1.0.0", "1.0.1", "1.0.1", "champion"]
    assert found[0][1].startswith("changed: card.md")
    assert [problem for _, problem in found[1:3]] == ["missing: schema.json", "extra:   notes.txt"]
    assert found[3][1] == "dangling: points to 1.0.0, which is damaged"


def test_verify_finds_a_version_replaced_by_another(registered):
    shutil.rmtree(version_folder(registered, "1.0.0"))
    shutil.copytree(version_folder(registered, "1.0.1"), version_folder(registered, "1.0.0"))
    assert [where for where, _ in findings(registered)] == ["1.0.0", "champion"]
    with pytest.raises(RegistryError, match="differs from the one registered"):
        resolve("registry:leads@champion", registered.root)


def test_verify_finds_missing_and_unknown_versions(registered):
    version_folder(registered, "1.0.1").rename(version_folder(registered, "3.0.0"))
    found = dict(findings(registered))
    assert "did not finish" in found["1.0.1"]
    assert "is not in the history" in found["3.0.0"]


@pytest.mark.parametrize("damage", ["truncated", "changed", "dropped", "empty", "not text"])
def test_verify_finds_a_damaged_history_and_nothing_is_written_to_it(registered, damage, runs):
    path = registered.root / "leads" / "history.jsonl"
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    new = {
        "truncated": data[:-20],
        "changed": data.replace(b"1.0.0", b"1.0.1"),
        "dropped": b"".join(lines[1:]),
        "empty": b"",
        "not text": data + b"\xff\n",
    }[damage]
    path.write_bytes(new)
    assert findings(registered) != []
    with pytest.raises(RegistryError, match=r"history\.jsonl is (damaged: line|missing or empty)"):
        resolve("registry:leads@champion", registered.root)
    with pytest.raises(RegistryError):
        add(registered, runs.tuned, "leads")
    assert path.read_bytes() == new
    assert sorted(folder.name for folder in (registered.root / "leads" / "versions").iterdir()) == ["1.0.0", "1.0.1"]


def test_verify_finds_that_the_last_lines_are_missing(registered):
    path = registered.root / "leads" / "history.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert [where for where, _ in findings(registered)] == ["1.0.1"]


def test_leftovers_of_killed_commands_are_no_damage_and_are_cleaned_up(registered, runs):
    model = registered.root / "leads"
    shutil.copytree(runs.tuned.path, model / ".adding-1.1.0")  # killed before its line
    (model / ".history.jsonl.12.tmp").write_text("half")
    version_folder(registered, "1.0.1").rename(model / ".adding-1.0.1")  # killed after its line
    assert findings(registered) == []
    assert [where for where, _ in findings(registered, "unfinished")] == [
        "1.0.1",
        ".adding-1.1.0",
        ".history.jsonl.12.tmp",
    ]
    set_alias(registered, Reference("leads", version="1.0.0"), "a")
    assert registered.findings("leads") == []
    assert sorted(path.name for path in model.iterdir()) == [".lock", "history.jsonl", "versions"]


def test_a_symbolic_link_to_a_version_is_refused(registered, tmp_path):
    version_folder(registered, "1.0.0").rename(tmp_path / "elsewhere")
    version_folder(registered, "1.0.0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RegistryError, match="symbolic link"):
        resolve("registry:leads@champion", registered.root)
    assert "1.0.0" in dict(findings(registered))
