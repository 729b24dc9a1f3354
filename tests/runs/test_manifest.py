import json
import subprocess
from dataclasses import replace

import pytest

import mlsys
from mlsys.errors import RunError
from mlsys.runs.files import FileEntry
from mlsys.runs.manifest import Git, Manifest, git_state, new_manifest, package_versions


@pytest.fixture
def manifest() -> Manifest:
    return new_manifest(
        status="complete",
        seed=3,
        threads=2,
        data_fingerprint="f00",
        timing={"fit": 0.1, "panel": 1e-5},
        files={"metrics.json": FileEntry("00", 2)},
    )


def test_a_manifest_round_trips(manifest):
    assert Manifest.from_text(manifest.to_text(), "manifest.json") == manifest


def test_the_format(manifest):
    data = json.loads(manifest.to_text())
    assert data["format_version"] == 1
    assert data["mlsys_version"] == mlsys.__version__
    assert data["files"] == {"metrics.json": {"sha256": "00", "bytes": 2}}
    assert data["packages"]["scikit-learn"]
    assert data["created"].endswith("+00:00")
    assert set(data["git"]) == {"commit", "dirty"}
    assert list(data)[-1] == "self_sha256"


def test_every_changed_byte_is_detected(manifest):
    text = manifest.to_text()
    for at in range(0, len(text), 7):
        changed = text[:at] + ("x" if text[at] != "x" else "y") + text[at + 1 :]
        with pytest.raises(RunError, match=r"run/manifest.json (was changed or damaged|has format version)"):
            Manifest.from_text(changed, "run/manifest.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": NaN}', "null"])
def test_other_content_is_damage(text):
    with pytest.raises(RunError, match="damaged"):
        Manifest.from_text(text, "manifest.json")


def test_another_format_is_refused_with_the_version_that_reads_it(manifest):
    text = replace(manifest, format_version=2, mlsys_version="9.1").to_text()
    with pytest.raises(RunError, match=r"format version 2; .* reads 1. Open it with mlsys 9\.1"):
        Manifest.from_text(text, "manifest.json")


def test_a_manifest_without_its_keys_is_refused():
    from mlsys.runs.manifest import _sealed

    with pytest.raises(RunError, match="is not a valid manifest"):
        Manifest.from_text(_sealed({"format_version": 1}), "manifest.json")


def test_status_is_checked():
    with pytest.raises(RunError, match="'done'; expected one of complete, trial, pruned, failed"):
        new_manifest(status="done", seed=1, threads=1, data_fingerprint=None, timing={}, files={})


def test_seconds_are_the_total_or_the_sum(manifest):
    assert manifest.seconds == pytest.approx(0.10001)
    assert replace(manifest, timing={"fit": 1.0, "total": 3.0}).seconds == 3.0


def test_packages_that_are_not_installed_are_left_out():
    assert list(package_versions(("numpy", "no-such-package"))) == ["numpy"]


def test_git_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == Git(None, None)
    assert git_state(tmp_path / "nowhere") == Git(None, None)


def test_git_in_a_checkout(tmp_path):
    def git(*arguments: str) -> str:
        who = [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "commit.gpgsign=false",
            "-c",
            "core.hooksPath=/dev/null",
        ]
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet")
    assert git_state(tmp_path) == Git(None, False)
    (tmp_path / "a").touch()
    git("add", "a")
    git("commit", "--quiet", "-m", "a")
    commit = git("rev-parse", "HEAD")
    assert git_state(tmp_path) == Git(commit, False)
    (tmp_path / "b").touch()
    assert git_state(tmp_path) == Git(commit, True)


@pytest.mark.parametrize(
    "change", [{"packages": None}, {"created": 5}, {"timing": []}, {"seed": "3"}, {"status": "splendid"}]
)
def test_values_of_the_wrong_type_are_refused_despite_a_valid_digest(manifest, change):
    text = replace(manifest, **change).to_text()
    with pytest.raises(RunError, match="is not a valid manifest"):
        Manifest.from_text(text, "manifest.json")


def test_deep_nesting_is_damage():
    with pytest.raises(RunError, match="damaged"):
        Manifest.from_text("[" * 100_000, "manifest.json")
