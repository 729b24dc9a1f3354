"""Resolving a reference to a registered version."""

import subprocess
import sys

import pytest

from mlsys.errors import RegistryError
from mlsys.registry.commands import add, promote, set_alias
from mlsys.registry.folder import resolve
from mlsys.registry.names import Reference


@pytest.fixture
def root(folder_store, runs, gate):
    add(folder_store, runs.first, "leads")
    add(folder_store, runs.again, "leads")
    promote(folder_store, Reference("leads", version="1.0.0"), gate)
    set_alias(folder_store, Reference("leads"), "challenger")
    return folder_store.root


@pytest.mark.parametrize(
    ("reference", "version", "alias"),
    [
        ("registry:leads", "1.0.0", "champion"),
        ("registry:leads@champion", "1.0.0", "champion"),
        ("leads@challenger", "1.0.1", "challenger"),
        ("registry:leads@1.0.1", "1.0.1", None),
    ],
)
def test_every_form_of_reference(root, reference, version, alias):
    resolved = resolve(reference, root)
    assert (resolved.name, resolved.version, resolved.alias) == ("leads", version, alias)
    assert resolved.run == (root / "leads" / "versions" / version).resolve()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("registry:lead", r"Model 'lead' not found.*closest: leads.*add latest --name lead"),
        ("registry:leads@2.0.0", r"leads has no 2\.0\.0\. It has champion, challenger, 1\.0\.0, 1\.0\.1"),
        ("registry:leads@champoin", r"has no champoin.*closest: champion"),
        ("registry:leads@", "is not a valid reference"),
        ("registry:../leads@champion", "Invalid model name"),
        ("registry:leads@../1.0.0", "is not a valid reference"),
    ],
)
def test_unknown_references(root, reference, message):
    with pytest.raises(RegistryError, match=message):
        resolve(reference, root)


def test_no_champion_yet(folder_store, runs):
    add(folder_store, runs.first, "leads")
    with pytest.raises(RegistryError, match="run `mlsys registry promote leads`"):
        resolve("registry:leads", folder_store.root)


def test_an_empty_registry(tmp_path):
    with pytest.raises(RegistryError, match="It is empty"):
        resolve("registry:leads", tmp_path / "registry")
    assert not (tmp_path / "registry").exists()


def test_resolving_needs_only_the_standard_library():
    code = (
        "import sys; import mlsys.registry.folder; "
        "print([n for n in ('pandas', 'numpy', 'pydantic', 'filelock', 'yaml', 'mlsys.runs') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
