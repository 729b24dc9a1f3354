"""A registry in a folder: what is kept, who may write, and what `verify` finds."""

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
def kept(folder_store, runs, gate):
    """Two versions, the first the champion."""
    add(folder_store, runs.first, "leads")
    promote(folder_store, Reference("leads"), gate)
    add(folder_store, runs.again, "leads")
    return folder_store


def place(store, version) -> Path:
    return store.root / "leads" / "versions" / version


def edit(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def findings(store, level="damage"):
    return [(found.where, found.problem) for found in store.findings("leads") if found.level == level]


def test_a_version_is_a_copy(kept, runs):
    copy = place(kept, "1.0.0")
    assert Run.open(copy).manifest == runs.first.manifest
    for name in runs.first.manifest.files:
        assert not (copy / name).samefile(runs.first.path / name)
        assert (copy / name).stat().st_nlink == 1
        assert (copy / name).stat().st_mode & 0o222 == 0


def test_hidden_files_stay_behind(folder_store, runs, tmp_path):
    shutil.copytree(runs.first.path, tmp_path / "run")
    (tmp_path / "run" / ".hydra").mkdir()
    add(folder_store, Run.open(tmp_path / "run"), "leads")
    assert not (place(folder_store, "1.0.0") / ".hydra").exists()


def test_a_run_that_changes_while_it_is_copied_is_not_added(folder_store, runs, tmp_path):
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


def test_no_change_is_lost_among_many_writers(kept):
    def work(number):
        for turn in range(8):
            set_alias(kept, Reference("leads"), f"a{number}-{turn}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = kept.state("leads")
    assert len(state.entries) == 3 + 32
    assert len(state.aliases) == 1 + 32


def test_a_lock_that_is_never_given_up_is_said(kept, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with kept._locked("leads"), pytest.raises(RegistryError, match=r"kept .* locked"):
        set_alias(kept, Reference("leads"), "a")


def test_a_full_disk_changes_nothing(kept, runs, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomic", full)
    with pytest.raises(RegistryError, match="No space left on device"):
        add(kept, runs.tuned, "leads")
    monkeypatch.undo()
    assert list(kept.state("leads").added) == ["1.0.0", "1.0.1"]
    set_alias(kept, Reference("leads"), "a")  # cleans up
    assert kept.findings("leads") == []


def test_verify_finds_changed_missing_and_foreign_files(kept):
    edit(place(kept, "1.0.0") / "card.md", b"edited")
    (place(kept, "1.0.1") / "schema.json").unlink()
    (place(kept, "1.0.1") / "notes.txt").write_text("?")
    found = findings(kept)
    assert [where for where, _ in found] == ["1.0.0", "1.0.1", "1.0.1", "champion"]
    assert found[0][1].startswith("changed: card.md")
    assert [problem for _, problem in found[1:3]] == ["missing: schema.json", "extra:   notes.txt"]
    assert found[3][1] == "dangling: it stands for 1.0.0, which is damaged"


def test_verify_finds_a_version_that_was_exchanged_for_another_whole_one(kept):
    shutil.rmtree(place(kept, "1.0.0"))
    shutil.copytree(place(kept, "1.0.1"), place(kept, "1.0.0"))
    assert [where for where, _ in findings(kept)] == ["1.0.0", "champion"]
    with pytest.raises(RegistryError, match="not the one that was registered"):
        resolve("registry:leads@champion", kept.root)


def test_verify_finds_missing_and_unknown_versions(kept):
    place(kept, "1.0.1").rename(place(kept, "3.0.0"))
    found = dict(findings(kept))
    assert "did not finish" in found["1.0.1"]
    assert "is not in the history" in found["3.0.0"]


@pytest.mark.parametrize("damage", ["torn", "changed", "dropped", "empty", "not text"])
def test_verify_finds_a_damaged_history_and_nothing_is_written_on_it(kept, damage, runs):
    path = kept.root / "leads" / "history.jsonl"
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    new = {
        "torn": data[:-20],
        "changed": data.replace(b"1.0.0", b"1.0.1"),
        "dropped": b"".join(lines[1:]),
        "empty": b"",
        "not text": data + b"\xff\n",
    }[damage]
    path.write_bytes(new)
    assert findings(kept) != []
    with pytest.raises(RegistryError, match=r"history\.jsonl is (damaged: line|missing or empty)"):
        resolve("registry:leads@champion", kept.root)
    with pytest.raises(RegistryError):
        add(kept, runs.tuned, "leads")
    assert path.read_bytes() == new
    assert sorted(folder.name for folder in (kept.root / "leads" / "versions").iterdir()) == ["1.0.0", "1.0.1"]


def test_the_last_lines_of_a_history_are_missed(kept):
    path = kept.root / "leads" / "history.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert [where for where, _ in findings(kept)] == ["1.0.1"]


def test_what_a_killed_command_left_is_no_damage_and_is_cleaned_up(kept, runs):
    model = kept.root / "leads"
    shutil.copytree(runs.tuned.path, model / ".adding-1.1.0")  # killed before its line
    (model / ".history.jsonl.12.tmp").write_text("half")
    place(kept, "1.0.1").rename(model / ".adding-1.0.1")  # killed after its line
    assert findings(kept) == []
    assert [where for where, _ in findings(kept, "unfinished")] == ["1.0.1", ".adding-1.1.0", ".history.jsonl.12.tmp"]
    set_alias(kept, Reference("leads", version="1.0.0"), "a")
    assert kept.findings("leads") == []
    assert sorted(path.name for path in model.iterdir()) == [".lock", "history.jsonl", "versions"]


def test_a_link_in_place_of_a_version_is_refused(kept, tmp_path):
    place(kept, "1.0.0").rename(tmp_path / "elsewhere")
    place(kept, "1.0.0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RegistryError, match="symbolic link"):
        resolve("registry:leads@champion", kept.root)
    assert "1.0.0" in dict(findings(kept))
