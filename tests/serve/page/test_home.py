"""The HTML of the page."""

from serve.http.auth import Key, hash_key
from serve.page import POLICY
from tests.pages import Page, check_accessible
from tests.serve.conftest import INDUSTRIES, inside, inside_of  # noqa: F401 - fixtures


def test_the_page_has_the_runs_fields_and_only_its_own_policy(inside):  # noqa: F811
    answer = inside.get("/")
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    page = Page(answer.text)
    check_accessible(page)
    assert "latest 7 days" in page.words.lower()
    assert set(INDUSTRIES) <= {option.get("value") for option in page.all("option")}
    assert "key" not in page.ids


def test_a_service_with_keys_has_a_field_for_one(run, inside_of):  # noqa: F811
    key = Key("crm", "score", bytes.fromhex(hash_key("secret").removeprefix("sha256$")))
    guarded = inside_of(run, keys=(key,))
    assert guarded.get("/").status_code == 401
    page = Page(guarded.get("/", auth=("anybody", "secret")).text)
    [field] = [each for each in page.all("input") if each.get("id") == "key"]
    assert field["type"] == "password"
    assert field["autocomplete"] == "off"
