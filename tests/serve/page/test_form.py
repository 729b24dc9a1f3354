"""The form that is generated from the schema."""

import pytest

from mlsys.runs.input_column import InputColumn
from serve.page.form import form_fields, groups, shown
from tests.pages import Page


def entry(name, **more):
    return {"name": name, "dtype": "float64", "nullable": False, "description": name, **more}


def test_fields_with_the_same_prefix_form_a_group_and_the_others_come_first():
    texts = ["users: total", "users: trend", "deals: share", "4: 2 levels", "industry sector"]
    found = groups([InputColumn.of(entry(str(i + 1), description=text)) for i, text in enumerate(texts)])
    assert [(group.title, [label for label, _ in group.fields]) for group in found] == [
        ("General", ["Industry sector", "Deals: share", "4"]),
        ("Users", ["Total", "Trend"]),
    ]


def test_each_field_has_a_label_a_hint_and_a_typical_value():
    names = ['quo"te', "minus", "range", "free"]
    inputs = [
        entry(names[0], min=0.0, max=12097.0, unit="users", example=1 / 3),
        entry(names[1], min=-1.0, max=1.0, nullable=True),
        entry(names[2], dtype="string", categories=["11 to 25", "2 to 5", "<b>"], example="2 to 5", nullable=True),
        entry(names[3], dtype="string", categories=[str(i) for i in range(200)], example="7", description="free: text"),
    ]
    html = form_fields({"inputs": inputs})
    page = Page(html)
    assert page.open == []
    controls = [found for _, found in page.tags if "data-field" in found]
    assert [found["data-field"] for found in controls] == names
    assert [found.get("value") for found in controls] == ["0.3333", "", None, "7"]
    assert [found.get("inputmode") for found in controls] == ["decimal", "text", None, None]
    assert ["data-required" in found for found in controls] == [True, False, False, True]
    assert [label["for"] for label in page.all("label")] == [found["id"] for found in controls]
    assert {each for found in controls for each in found["aria-describedby"].split()} <= set(page.ids)
    assert "users · 0 to 12,097 in training" in html
    assert "-1 to 1 in training · leave empty if unknown" in html
    assert html.index('"2 to 5" selected') < html.index('"11 to 25"') < html.index("&lt;b&gt;")
    assert '<option value="">unknown</option>' in html
    assert ">Free</label>" in html
    assert ">text</p>" in html


@pytest.mark.parametrize(
    ("value", "text"), [(12097.0, "12097"), (1234.5678, "1235"), (1e-7, "1e-07"), (None, ""), ('a"b', 'a"b')]
)
def test_values_are_shown_short(value, text):
    assert shown(value) == text
