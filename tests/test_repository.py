"""Checks of the repository itself."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def tracked():
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def test_locks_pin_hashes_and_name_no_index():
    for lock in ("requirements.lock", "requirements-dev.lock", "requirements-serve.lock"):
        text = (ROOT / lock).read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text
        assert "--index-url" not in text


def test_locks_contain_the_projects_dependencies():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    required = {
        "requirements.lock": config["project"]["dependencies"],
        "requirements-serve.lock": config["dependency-groups"]["serve"],
    }
    for lock, wanted in required.items():
        locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
        names = {re.split(r"[\[<>=;~! ]", name)[0].lower() for name in wanted}
        assert names - locked == set()


def test_serving_is_locked_to_what_was_tested():
    versions = {
        lock: set(re.findall(r"^([a-z0-9._-]+==\S+)", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in ("requirements-dev.lock", "requirements-serve.lock")
    }
    assert versions["requirements-serve.lock"] - versions["requirements-dev.lock"] == set()


def test_the_entrypoint_is_one_short_flow():
    assert len((ROOT / "mlsys" / "train.py").read_text().splitlines()) <= 150


def test_every_benchmark_has_a_small_version_and_is_described():
    source = (ROOT / "benchmarks" / "small.py").read_text()
    small = set(re.findall(r'^    "(\w+)": Small\(', source, re.MULTILINE))
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"small"}
    assert small == scripts
    described = (ROOT / "benchmarks" / "README.md").read_text()
    assert [name for name in sorted(scripts) if f"`python benchmarks/{name}.py" not in described] == []


def test_each_public_class_name_has_one_meaning():
    files = [path for package in ("mlsys", "serve") for path in (ROOT / package).rglob("*.py")]
    names = [name for path in files for name in re.findall(r"^class ([A-Z]\w+)", path.read_text(), re.MULTILINE)]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_no_file_is_large():
    assert [path for path in tracked() if path.stat().st_size > 1_000_000] == []


def test_runs_are_not_in_git():
    names = {path.relative_to(ROOT).as_posix() for path in tracked()}
    assert {name for name in names if name.startswith(("outputs/", "multirun/"))} == {
        "outputs/.gitkeep",
        "multirun/.gitkeep",
    }


def test_make_help_lists_the_targets():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("train", "test", "check"):
        assert re.search(rf"make {target}\s+\w", done.stdout)


def test_ci_runs_the_readmes_test_command():
    assert "make test" in (ROOT / "README.md").read_text()
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


@pytest.mark.slow
def test_the_examples_of_a_module_can_be_run_alone():
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "mlsys/data/contracts.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_links_in_the_docs_are_not_broken():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    links = [
        (page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link
    ]
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def built(folder, **environment):
    """Build a wheel into a folder and return it."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The built wheel, unpacked outside of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(built(folder)) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_a_wheel_contains_the_library_compiled_for_its_platform(installed):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    assert (installed / "serve" / "scoring" / "trees" / "traverse.bin").is_file()
    (tag,) = re.findall(r"^Tag: (.*)$", next(installed.glob("*.dist-info/WHEEL")).read_text(), re.MULTILINE)
    assert tag.startswith("py3-none-")
    assert tag != "py3-none-any"


def test_without_a_compiler_a_wheel_is_platform_independent(tmp_path):
    wheel = built(tmp_path, CC="no-such-compiler")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".bin")]


def test_the_image_and_the_installation_use_the_same_compiler_flags():
    flags = re.search(r'^FLAGS = "(.*?)"', (ROOT / "hatch_build.py").read_text(), re.MULTILINE).group(1)
    command = f"RUN cc {flags} -o serve/scoring/trees/traverse.bin serve/scoring/trees/traverse.c "
    assert command in (ROOT / "Dockerfile").read_text()


def test_the_wheel_contains_the_configs(installed):
    assert (installed / "mlsys" / "conf" / "train.yaml").is_file()
    assert (installed / "mlsys" / "evaluation" / "report" / "templates" / "report.css").is_file()
    assert (installed / "serve" / "openapi.yaml").is_file()
    assert not (installed / "conf").exists()
    assert not (installed / "tests").exists()


def test_training_works_from_any_folder(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [
        sys.executable,
        "-m",
        "mlsys.train",
        "data.demo.events=3000",
        "model=logistic",
        "metrics.bootstrap_resamples=10",
    ]
    done = subprocess.run(
        [*command, "threads=1", "split.folds=2", "features=minimal"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (Path(done.stdout.strip().splitlines()[-1]) / "manifest.json").is_file()
    where = "import mlsys.launch as launch; print(launch.conf_folder())"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(installed / "mlsys" / "conf")
