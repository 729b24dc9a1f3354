import pytest

from mlsys.errors import RunError
from mlsys.runs.files import checked_name, digest, digest_file, run_files, write_atomic


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../other/metrics.json", "a/../../b", "", "a//b", "./a", "a\\b", "a\0b"]
)
def test_names_outside_the_directory_are_refused(name):
    with pytest.raises(RunError, match="is not a path inside a run directory"):
        checked_name(name)


@pytest.mark.parametrize("name", [".hydra/config.yaml", "plots/.hidden"])
def test_hidden_names_are_refused(name):
    with pytest.raises(RunError, match="hidden"):
        checked_name(name)


def test_the_name_of_the_manifest_is_reserved():
    with pytest.raises(RunError, match="finish"):
        checked_name("manifest.json")


def test_digest_of_a_file_is_that_of_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_file(tmp_path / "a", sync=True) == digest_file(tmp_path / "a") == digest(b"abc")


def test_the_manifest_and_hidden_files_are_skipped(tmp_path):
    for name in (
        "b.json",
        "plots/roc.png",
        "manifest.json",
        ".hydra/config.yaml",
        "plots/.DS_Store",
        "model/manifest.json",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(run_files(tmp_path)) == ["b.json", "model/manifest.json", "plots/roc.png"]


@pytest.mark.parametrize("target", ["b.json", "nowhere", "."])
def test_links_are_refused(tmp_path, target):
    (tmp_path / "b.json").touch()
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(RunError, match=r"link is a symbolic link"):
        list(run_files(tmp_path))


def test_a_file_is_replaced_not_overwritten(tmp_path):
    """A process that has the old file open can still read all of it."""
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_an_interrupted_write_leaves_only_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
