"""The HTML of the page."""

from types import SimpleNamespace

import pytest

from serve.http.auth import Key, hash_key
from serve.page import POLICY, home_page
from serve.page.home import evidence
from tests.pages import Page, check_accessible
from tests.serve.conftest import INDUSTRIES, SCHEMA, inside, inside_of  # noqa: F401 - fixtures


def test_the_page_has_the_runs_fields_and_only_its_own_policy(inside):  # noqa: F811
    answer = inside.get("/")
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    page = Page(answer.text)
    check_accessible(page)
    assert "latest 7 days" in page.words.lower()
    assert set(INDUSTRIES) <= {option.get("value") for option in page.all("option")}
    assert "key" not in page.ids


@pytest.mark.parametrize(("top", "everyone"), [(0.13, -0.05), (-0.095, 0.0)])
def test_an_effect_below_zero_lowers_the_rate(top, everyone):
    metrics = {
        "overall": {"uplift_top_30": {"value": top}},
        "baselines": {"chance": {"uplift_top_30": {"value": everyone}}},
    }
    first, second = ("lowered" if effect < 0 else "raised" for effect in (top, everyone))
    text = evidence(metrics)
    assert f"the treatment {first} the rate of this outcome by {abs(100 * top):.1f} points" in text
    assert f"and {second} it by {abs(100 * everyone):.1f} points among all rows" in text


def test_a_service_with_keys_has_a_field_for_one(run, inside_of):  # noqa: F811
    key = Key("crm", "score", bytes.fromhex(hash_key("secret").removeprefix("sha256$")))
    guarded = inside_of(run, keys=(key,))
    assert guarded.get("/").status_code == 401
    page = Page(guarded.get("/", auth=("anybody", "secret")).text)
    [field] = [each for each in page.all("input") if each.get("id") == "key"]
    assert field["type"] == "password"
    assert field["autocomplete"] == "off"


def served(card, metrics=None, audit=None, inputs=None, raw=None):
    """Return what the page needs of a loaded model."""
    schema = {"inputs": inputs or SCHEMA["inputs"]}
    run = SimpleNamespace(card=card, metrics=metrics or {}, audit=audit or {})
    scorer = SimpleNamespace(run=run, schema=schema, threshold=0.25, inputs=SimpleNamespace(raw=raw))
    resolved = SimpleNamespace(reference="registry:leads", name="leads", version="1.2.0")
    return SimpleNamespace(scorer=scorer, schema=schema, resolved=resolved)


CARD = """# Model card: lightgbm on crm

2026-11-25 · mlsys 0.1.0

This model predicts which rows have \\_won\\_ = 1.0 or <b>. Estimator: lightgbm.

- ROC-AUC: better than ranking by activity.
"""


def entry(value):
    return {"precision@10": {"value": value}}


def test_the_page_begins_in_the_words_of_its_readers():
    rates = {"overall": entry(0.125) | {"precision@50": {"value": 0.1}}, "baselines": {"activity": entry(0.12)}}
    rates["baselines"]["chance"] = entry(0.00298)
    html = home_page(served(CARD, rates), keys=False)
    page = Page(html)
    check_accessible(page)
    assert "<h1>Which rows have _won_ = 1.0 or &lt;b&gt;?</h1>" in html
    order = ["Rank a list", "In tests, 12% of the 10 rows", "0.3% of all rows", "Score one record", "ROC-AUC"]
    places = [page.words.rindex(words) for words in order]
    assert places == sorted(places)
    assert "compared with 12% of the same number chosen by recent activity and 0.3% of all rows." in page.words


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"overall": {"roc_auc": {"value": 0.9}}},
        {"overall": entry(None), "baselines": {"chance": entry(0.1)}},
        {"overall": entry(0.5), "baselines": {"activity": None}},
    ],
)
def test_without_the_numbers_nothing_is_said_about_them(metrics):
    assert "In tests" not in home_page(served(CARD, metrics), keys=False)


@pytest.mark.parametrize(
    ("status", "words"),
    [("pass", "Checks passed"), ("warn", "Checks passed with warnings"), ("fail", "do not rely on the scores yet")],
)
def test_the_audit_is_named_at_the_top(status, words):
    assert words in Page(home_page(served("# Own card\n\nIt ranks.\n", audit={"status": status}), keys=False)).words
