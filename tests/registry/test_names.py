"""Names, versions, aliases."""

import pytest

from mlsys.errors import RegistryError
from mlsys.registry.names import Reference, Version, check_alias, check_name


def test_bumped_versions():
    version = Version.parse("1.9.3")
    assert [str(version.bumped(part)) for part in ("major", "minor", "patch")] == ["2.0.0", "1.10.0", "1.9.4"]
    assert max(["1.9.0", "1.10.0", "0.20.0"], key=Version.parse) == "1.10.0"


@pytest.mark.parametrize("text", ["1.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "1.0.0\n", ""])
def test_invalid_versions(text):
    with pytest.raises(RegistryError, match=r"MAJOR\.MINOR\.PATCH"):
        Version.parse(text)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-a", "a.b", "a\n", "ä", "a" * 101])
def test_invalid_names(name):
    with pytest.raises(RegistryError, match="Invalid model name"):
        check_name(name)


@pytest.mark.parametrize("alias", ["", "1", "1.0.0", "latest", "Latest", "v1", "V12", "a/b", "a.b", "a b", "a" * 51])
def test_invalid_aliases(alias):
    with pytest.raises(RegistryError, match="Invalid alias"):
        check_alias(alias)


@pytest.mark.parametrize("text", ["leads", "leads@champion", "leads@1.0.0"])
def test_a_reference_round_trips(text):
    assert str(Reference.parse(text)) == str(Reference.parse(f"registry:{text}")) == text
