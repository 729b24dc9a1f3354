"""Panels are made once and then loaded from the cache, and damaged files are never used."""

import errno
import logging
import os
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlsys.data import cache
from mlsys.data.cache import TableCache, cache_key, code_version, default_folder, get_or_make, hash_files
from mlsys.data.config import TableData
from mlsys.errors import DataError
from tests.waiting import HANG, wait_until

TABLE = pa.table({"id": [1, 2], "word": ["a", None], "x": [0.5, float("nan")]})
NOTE = {"features": ["x"], "end": "2020-01-01"}


class Maker:
    """Makes the table and counts the calls."""

    def __init__(self, table=TABLE, note=NOTE):
        self.result = (table, note)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return self.result


@pytest.fixture
def table_cache(tmp_path):
    return TableCache(tmp_path / "panels", max_bytes=10**9)


def same(entry):
    table, note = entry
    return table.to_pylist()[0] == TABLE.to_pylist()[0] and table.schema.names == TABLE.schema.names and note == NOTE


def test_an_entry_is_made_once(table_cache, caplog):
    make = Maker()
    with caplog.at_level(logging.INFO, "mlsys.data.cache"):
        assert same(table_cache.get_or_make("key", make))
        assert same(table_cache.get_or_make("key", make))
    assert make.calls == 1
    assert "panel loaded from the cache" in caplog.text
    again = TableCache(table_cache.folder, 10**9)
    assert same(again.get_or_make("key", make))
    assert make.calls == 1


def test_types_and_missing_values_survive(table_cache):
    frame = TABLE.to_pandas().assign(day=pd_day())
    table = pa.Table.from_pandas(frame, preserve_index=False)
    fresh = table_cache.get_or_make("key", Maker(table))[0].to_pandas()
    cached = table_cache.get_or_make("key", Maker())[0].to_pandas()
    assert cached.equals(fresh)
    assert cached.equals(frame)
    assert cached.dtypes.tolist() == frame.dtypes.tolist()


def pd_day():
    return pa.array([0, None], pa.timestamp("us")).to_pandas()


def test_keys_are_separate_entries(table_cache):
    make = Maker()
    table_cache.get_or_make("one", make)
    table_cache.get_or_make("two", make)
    assert make.calls == 2


def test_a_failure_leaves_no_entry(table_cache):
    def fail():
        raise DataError("no rows")

    with pytest.raises(DataError, match="no rows"):
        table_cache.get_or_make("key", fail)
    make = Maker()
    assert same(table_cache.get_or_make("key", make))
    assert make.calls == 1


def parquet_without_note(path):
    pq.write_table(TABLE, path)


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    """Flip one bit of a value, so that the file is still readable."""
    content = bytearray(path.read_bytes())
    content[content.index(b"\x00\x00\x00\x00\x00\x00\xe0\x3f")] ^= 1  # 0.5
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [half, flipped, parquet_without_note, lambda path: path.write_bytes(b"")])
def test_a_corrupt_file_is_rebuilt(table_cache, caplog, damage, monkeypatch):
    monkeypatch.setattr(cache, "COMPRESSION", "none")  # so that the flipped bit is in a value
    table_cache.get_or_make("key", Maker())
    damage(table_cache.folder / "key.parquet")
    make = Maker()
    assert same(table_cache.get_or_make("key", make))
    assert make.calls == 1
    assert "is corrupt" in caplog.text
    assert same(table_cache.get_or_make("key", make))
    assert make.calls == 1


def test_least_recently_used_entries_are_evicted_first(table_cache):
    rows = pa.table({"x": pa.array(range(20_000))})
    size = None
    for age, key in enumerate(["newest", "middle", "oldest"]):
        table_cache.get_or_make(key, Maker(rows))
        size = (table_cache.folder / f"{key}.parquet").stat().st_size
        long_ago = time.time() - 3600 * (age + 1)
        os.utime(table_cache.folder / f"{key}.parquet", (long_ago, long_ago))
    table_cache.get_or_make("oldest", Maker(rows))  # reading it makes it the newest
    (table_cache.folder / "killed.99.partial").write_bytes(b"x" * size)
    os.utime(table_cache.folder / "killed.99.partial", (0, 0))
    table_cache.max_bytes = int(3.5 * size)
    table_cache.get_or_make("another", Maker(rows))
    assert {path.name for path in table_cache.folder.glob("*.p*")} == {
        f"{name}.parquet" for name in ("another", "oldest", "newest")
    }
    assert not (table_cache.folder / "middle.lock").exists()


def test_a_table_larger_than_the_cache_is_the_only_entry(table_cache):
    table_cache.max_bytes = 10
    table_cache.get_or_make("one", Maker())
    table_cache.get_or_make("two", Maker())
    assert [path.name for path in table_cache.folder.glob("*.parquet")] == ["two.parquet"]


def test_a_full_disk_is_a_warning(table_cache, caplog, monkeypatch):
    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full_disk)
    assert same(table_cache.get_or_make("key", Maker()))
    assert "cannot store the panel" in caplog.text
    assert "No space left" in caplog.text
    assert list(table_cache.folder.glob("*.p*")) == []


def full_disk(writer, batch):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_stored_table_is_read_column_by_column_even_after_it_was_removed(table_cache):
    table = pa.table({"a": [1.0, 2.0], "b": ["x", None]})
    stored = table_cache.open_or_make("key", table.to_reader)
    table_cache.file("key").unlink()
    assert stored.column_names == ["a", "b"]
    assert stored.num_rows == 2
    assert stored.column("b").to_pylist() == ["x", None]


def test_a_table_that_cannot_be_stored_stays_in_memory(table_cache, caplog, monkeypatch):
    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full_disk)
    columns = table_cache.open_or_make("key", pa.table({"a": [1.0, 2.0]}).to_reader)
    assert columns.column("a").to_pylist() == [1.0, 2.0]
    assert "continuing without" in caplog.text


def test_a_folder_that_cannot_be_created_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    table_cache = TableCache(tmp_path / "file" / "panels", 10**9)
    assert same(table_cache.get_or_make("key", Maker()))
    assert "cannot use" in caplog.text
    assert "data.cache=false" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write anywhere")
def test_a_read_only_folder_is_a_warning(table_cache, caplog):
    table_cache.folder.mkdir()
    table_cache.folder.chmod(0o500)
    assert same(table_cache.get_or_make("key", Maker()))
    assert "cannot use" in caplog.text


PROCESS = """
import sys, time
from pathlib import Path
import pyarrow as pa
from mlsys.data.cache import TableCache

folder, name = Path(sys.argv[1]), sys.argv[2]

def make():
    with (folder / "made").open("a") as file:
        file.write(name)
    while not (folder / "go").exists():
        time.sleep(0.01)
    return pa.table({"by": [name]}), {}

(folder / f"{name}.started").touch()
print(TableCache(folder / "panels", 10**9).get_or_make("key", make)[0]["by"][0].as_py())
"""


def test_concurrent_processes_make_an_entry_once(tmp_path):
    def start(name):
        command = [sys.executable, "-c", PROCESS, str(tmp_path), name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def wait_for(name):
        wait_until((tmp_path / name).exists, f"a process made {name}")

    first = start("a")
    wait_for("made")
    second = start("b")
    wait_for("b.started")
    (tmp_path / "go").touch()
    outputs = [process.communicate(timeout=HANG)[0].strip() for process in (first, second)]
    assert outputs == ["a", "a"]
    assert (tmp_path / "made").read_text() == "a"


def config(tmp_path, **changes):
    settings = {"kind": "table", "name": "t", "path": "t.csv", "target": "y", "cache_dir": tmp_path}
    return TableData.model_validate(settings | changes)


def test_the_config_sets_the_folder_and_disables_the_cache(tmp_path):
    make = Maker()
    for _ in range(2):
        get_or_make(config(tmp_path), {"a": 1}, make)
    assert make.calls == 1
    assert len(list((tmp_path / "panels").glob("*.parquet"))) == 1
    get_or_make(config(tmp_path), {"a": 2}, make)
    assert make.calls == 2
    for _ in range(2):
        get_or_make(config(tmp_path / "none", cache=False), {"a": 1}, make)
    assert make.calls == 4
    assert not (tmp_path / "none").exists()


def test_a_cache_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"data\.cache_dir=.*file is a file; set it to a folder, or set data\.cach"):
        get_or_make(config(tmp_path, cache_dir=tmp_path / "file"), {}, Maker())


def test_changed_code_is_another_entry(tmp_path, monkeypatch):
    make = Maker()
    get_or_make(config(tmp_path), {}, make)
    monkeypatch.setattr(cache, "code_version", lambda: "another")
    get_or_make(config(tmp_path), {}, make)
    assert make.calls == 2


def test_the_code_version_covers_library_versions(monkeypatch):
    before = code_version.__wrapped__()
    assert code_version.__wrapped__() == before
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0")
    assert code_version.__wrapped__() != before


def test_keys_do_not_depend_on_the_order_of_their_parts():
    assert cache_key(a={"x": 1, "y": 2}, b=1) == cache_key(b=1, a={"y": 2, "x": 1})
    assert cache_key(a=1) != cache_key(a=2)
    assert cache_key(a=1) != cache_key(a="1")


def test_files_are_hashed_by_name_and_content(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    two.write_text("x")
    assert hash_files([one]) != hash_files([two])
    assert hash_files([one, two]) != hash_files([two, one])
    before = hash_files([one])
    one.write_text("y")
    assert hash_files([one]) != before


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "mlsys"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert default_folder() == tmp_path / "me" / ".cache" / "mlsys"
