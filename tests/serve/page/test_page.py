"""The page in a real browser, used as people use it."""

import csv
import io
import re

import httpx
import pytest

from mlsys.spreadsheets import as_text
from serve.page import home_page
from tests.serve.page.test_home import CARD, served
from tests.test_spreadsheets import FORMULAS, PLAIN

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: it is in the extra dev").expect
CONTRAST = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = color => color.slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = element => { for (; element; element = element.parentElement) {
    const found = rgb(getComputedStyle(element).backgroundColor); if (found[3] !== 0) return found; }
    return [255, 255, 255]; };
  const poor = [];
  for (const element of document.querySelectorAll('body *:not(script)')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) poor.push(element.outerHTML.slice(0, 90));
  }
  return poor;
}"""
UNNAMED = """() => [...document.querySelectorAll('input, select, button')]
  .filter(each => !(each.labels?.length || each.textContent.trim() || each.ariaLabel)).map(each => each.outerHTML)"""


def table(rows, header="account,users,actions,industry,Owner", encoding="utf-8"):
    text = "\n".join([header, *rows]) + "\n"
    return {"name": "leads.csv", "mimeType": "text/csv", "buffer": text.encode(encoding)}


def ranks(page):
    return [row.split("\t")[2] for row in page.locator("#results tbody tr").all_inner_texts()]


def downloaded(page, name, delimiter=","):
    with page.expect_download() as found:
        page.get_by_role("button", name=name).click()
    with found.value.path().open(encoding="utf-8-sig", newline="") as file:
        return found.value.suggested_filename, list(csv.reader(file, delimiter=delimiter))


def sent(page, file):
    """Return the rows that the page sends to the service for a file."""
    with page.expect_request("**/predict/batch") as found:
        page.locator("#file").set_input_files(file)
    return list(csv.reader(io.StringIO(found.value.post_data)))[1:]


def test_the_score_updates_while_typing_and_equals_the_services(open_page, url):
    page = open_page()
    page.get_by_label("Actions").fill("2.5")
    page.get_by_label("Industry sector").select_option("")
    record = {"users": 3, "actions": 2.5, "industry": None}
    probability = httpx.post(f"{url}/predict", json=record).json()["probability"]
    expect(page.locator("#score .value")).to_have_text(f"{100 * probability:.1f}%")
    expect(page.locator("#score")).to_contain_text("Decision: yes")
    assert page.locator("#score").get_attribute("role") == "status"
    reasons = page.locator(".reasons li")
    expect(reasons).to_have_count(3)
    expect(reasons.filter(has_text=re.compile("sector"))).to_contain_text("unknown")
    page.get_by_role("button", name="Reset to typical values").click()
    expect(page.get_by_label("Industry sector")).to_have_value("Software")
    expect(page.locator("#score .value")).not_to_have_text(f"{100 * probability:.1f}%")


def test_a_problem_is_shown_next_to_its_field(open_page):
    page = open_page()
    field = page.get_by_label("Actions")
    for typed, advice in (("lots", 'Change "lots" to a number.'), ("", "Enter a value: it is required.")):
        field.fill(typed)
        expect(page.locator("#" + field.get_attribute("id").replace("field", "error"))).to_have_text(advice)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(page.locator("#score")).to_contain_text("1 field to fix")
    field.fill("99")
    expect(page.locator("#score .value")).to_be_visible()
    expect(page.locator(".warnings")).to_contain_text("99 is outside the training range")
    assert field.get_attribute("aria-invalid") is None


def test_fields_are_found_by_their_words(open_page):
    page = open_page()
    page.get_by_label("Find a field").fill("sector")
    expect(page.locator(".field:visible")).to_have_count(1)
    page.get_by_label("Find a field").fill("nowhere")
    expect(page.locator("#found")).to_contain_text("No fields found")


def test_a_list_comes_back_ranked_to_sort_filter_and_download(open_page, url):
    page = open_page()
    rows = ["a1;3;-3;Retail;Ann", 'a2;;3;Software;"Bo; ""B"""', "a3;1;0;Mining;Ann"]
    page.locator("#file").set_input_files(table(rows, "account;users;actions;industry;Owner"))
    expect(page.locator("#results tbody tr")).to_have_count(3)
    assert ranks(page) == ["a2", "a3", "a1"]
    page.get_by_role("button", name="account").click()
    assert ranks(page) == ["a1", "a2", "a3"]
    page.get_by_role("button", name="account").click()
    assert ranks(page) == ["a3", "a2", "a1"]
    assert page.get_by_role("columnheader", name="account").get_attribute("aria-sort") == "descending"
    page.get_by_label("Find rows").fill("ann")
    expect(page.locator("#shown")).to_have_text("Showing 2 of 2 rows (3 in total).")
    page.get_by_label("Show", exact=True).select_option("warnings")
    assert ranks(page) == ["a3"]
    page.get_by_label("Find rows").fill("")
    page.get_by_label("Show", exact=True).select_option("all")
    name, lines = downloaded(page, "Download these rows", delimiter=";")  # written as the file was
    assert name == "leads-ranked.csv"
    assert lines[0][:4] == ["rank", "probability", "decision", "warnings"]
    assert lines[0][4:] == ["account", "users", "actions", "industry", "Owner"]
    record = {"users": None, "actions": 3, "industry": "Software"}
    assert float(lines[2][1].replace(",", ".")) == httpx.post(f"{url}/predict", json=record).json()["probability"]
    assert lines[2][4:] == ["a2", "", "3", "Software", 'Bo; "B"']
    page.get_by_role("button", name="Why rank 3?").click()
    expect(page.get_by_label("Industry sector")).to_have_value("Retail")
    expect(page.get_by_label("Actions")).to_have_value("-3")


def test_each_invalid_row_shows_what_to_do_and_the_others_can_be_scored(open_page):
    page = open_page()
    page.locator("#file").set_input_files(table(["a1,3,,Retail,Ann", 'a2,"1,5",3,,', "", "a3,1.0,0,Retail,Ann"]))
    found = page.locator("#problems tbody tr")
    expect(found).to_have_count(2)
    assert [row.split("\t") for row in found.all_inner_texts()] == [
        ["2", "actions", "Enter a value: it is required."],
        ["3", "users", 'Change "1,5" to a number, or leave it empty. Write decimals with a point: 1.5.'],
    ]
    expect(page.locator("#state")).to_contain_text("2 cells in 2 rows to fix in leads.csv")
    name, lines = downloaded(page, "Download this list")
    assert (name, len(lines)) == ("problems.csv", 3)
    page.get_by_role("button", name="Score the other row").click()
    expect(page.locator("#results tbody tr")).to_have_count(1)
    assert ranks(page) == ["a3"]


INVALID = [
    (
        table(["a1,3,1,Retail"], "account,user,actions,industry"),
        "Rename the column user to users if they are the same.",
    ),
    (table(["a1,3,Retail"], "account,users,industry"), "Add a column with this name."),
    (table(["a1,3,1,Retail"]), "The line has 4 cells, but the first line has 5 columns."),
    (table([]), "The file has no rows"),
    (table(['a1,"3,1,Retail,Ann']), 'The quotation mark (") that opens in line 2 is never closed.'),
    (table(["a1,1,1,Retail,Ann"], "account,users,users,industry,Owner"), "The column users appears more than once"),
    ({**table([]), "buffer": b"PK\x03\x04"}, "This is an Excel workbook"),
    ({**table([]), "buffer": b"\x89PNG\x00"}, "This is not a text file"),
]


def test_a_file_that_is_not_a_valid_table_shows_what_to_fix(open_page):
    page = open_page()
    for file, advice in INVALID:
        page.locator("#file").set_input_files(file)
        expect(page.locator("#state, #problems").filter(has_text=advice).first).to_be_visible()
        assert page.locator("#results").inner_text() == ""


def test_a_column_is_suggested_for_one_field_alone(open_page):
    page = open_page()
    page.locator("#file").set_input_files(table(["a1,3,Retail"], "account,ACTIONS_USERS,industry"))
    expect(page.locator("#problems tbody tr")).to_have_count(2)
    assert page.locator("#problems").inner_text().count("Rename the column ACTIONS_USERS") == 1


NUMBERS = [  # users and actions as a file writes them, and as they are sent
    (";", [("1,5", "2.256"), ("999", "-0,25")], [("1.5", "2256"), ("999", "-0.25")]),
    (";", [("999", "2.256")], [("999", "2256")]),
    (";", [("1.234,5", "1,5E-03")], [("1234.5", "1.5E-03")]),
    (";", [("1.5", "2.256"), ("1,234", "")], [("1.5", "2.256"), ("1234", "")]),
    (";", [("1.5", "2,5")], [("1.5", "2,5")]),
    ("\t", [("1,5", "2")], [("1.5", "2")]),
    (",", [('"1,234.5"', "2.256"), ('"1,234,567"', "2")], [("1234.5", "2.256"), ("1234567", "2")]),
    (",", [('"1,234"', "2")], [("1234", "2")]),
    (",", [("1.234", " 2 ")], [("1.234", "2")]),
]


@pytest.mark.parametrize(("separator", "cells", "values"), NUMBERS)
def test_numbers_are_read_as_the_file_writes_them(open_page, separator, cells, values):
    page = open_page()
    header = separator.join(["account", "users", "actions", "industry", "Owner"])
    rows = [separator.join(["a", users, actions, "Retail", "x"]) for users, actions in cells]
    assert [tuple(row[1:3]) for row in sent(page, table(rows, header))] == values
    expect(page.locator("#state, #results h3").filter(has_text=re.compile("ranked|to fix")).first).to_be_visible()
    noted = page.locator(".note", has_text="Numbers in this file").count() == 1
    changed = [(users.strip(' "'), actions.strip()) for users, actions in cells] != values
    assert noted == (changed and page.locator("#results h3").count() == 1)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_file_is_decoded(open_page, encoding):
    page = open_page()
    file = table(["Müller €;1,5;2;Ärzte"], "account;users;actions;industry", encoding)
    assert sent(page, file) == [["Müller €", "1.5", "2", "Ärzte"]]
    expect(page.locator("#results tbody tr")).to_have_count(1)
    assert page.locator(".note", has_text="not UTF-8").count() == (encoding == "cp1252")


def test_the_page_says_which_file_was_chosen(open_page):
    page = open_page()
    page.locator("#file").set_input_files(table(["a1,3,1,Retail,Ann"]))
    expect(page.locator("#chosen")).to_have_text("leads.csv, 1 row")
    page.locator("#file").set_input_files({**table([]), "name": "empty.csv"})
    expect(page.locator("#chosen")).to_have_text("empty.csv")


def test_downloads_run_no_cell_as_a_formula(open_page):
    cells = [
        cell for cell in [*FORMULAS, *PLAIN, "Acme;=1+1", "=1,-b"] if isinstance(cell, str) and cell.strip() == cell
    ]
    buffer = io.StringIO()
    header = ["account", "users", "actions", "industry", "=Owner"]
    csv.writer(buffer).writerows([header, *([i, 3, 1, "Retail", cell] for i, cell in enumerate(cells))])
    page = open_page()
    page.locator("#file").set_input_files({**table([]), "buffer": buffer.getvalue().encode()})
    expect(page.locator("#results tbody tr")).to_have_count(len(cells))
    _, (header, *rows) = downloaded(page, "Download these rows")
    assert header[-1] == "'=Owner"
    assert {row[4]: row[-1] for row in rows} == {str(i): as_text(cell) for i, cell in enumerate(cells)}
    page.locator("#file").set_input_files(table(["a1,=1+1,1,Retail,x"]))
    _, (_, *problems) = downloaded(page, "Download this list")
    assert problems == [["2", "users", 'Change "=1+1" to a number, or leave it empty.']]


def test_a_row_is_explained_with_all_its_digits_but_shown_short(open_page):
    page = open_page()
    page.locator("#file").set_input_files(table(["a1,0.1234567890123456,1234.56789,Retail,Ann"]))
    with page.expect_request("**/predict?explain=all") as found:
        page.get_by_role("button", name="Why rank 1?").click()
    assert found.value.post_data_json == {"users": 0.1234567890123456, "actions": 1234.56789, "industry": "Retail"}
    expect(page.get_by_label("Users")).to_have_value("0.1235")
    expect(page.get_by_label("Actions")).to_have_value("1235")
    expect(page.locator("#which")).to_contain_text("the values of rank 1 of leads.csv, line 2. Back to the list")
    with page.expect_request("**/predict?explain=all") as found:
        page.get_by_label("Users").fill("0.1236")
    assert found.value.post_data_json["users"] == 0.1236
    page.get_by_role("button", name="Reset to typical values").click()
    expect(page.locator("#which")).to_contain_text("typical values")


EFFECTS = [  # fields of two topics, and fields by themselves
    *[(f"usage: week {i}", 0.2) for i in range(6)],
    *[(f"visits: week {i}", -0.1) for i in range(5)],
    ("industry sector", 0.3), ("size", 0.25), ("age", 0.24), ("plan", -0.12), ("region", 0.02), ("seats", -0.01),
]  # fmt: skip


def test_no_rest_outweighs_the_reasons_shown_and_related_fields_are_one(browser, url):
    inputs = [{"name": each, "description": each, "dtype": "float64", "nullable": True} for each, _ in EFFECTS]
    top = [{"field": each, "label": each, "value": 0.123456789, "contribution": effect} for each, effect in EFFECTS]
    answer = {"probability": 0.3, "decision": True, "threshold": 0.25, "warnings": [], "model": {"version": "1.2.0"}}
    reasons = {"scale": "log-odds", "base": -2.0, "top": top, "other": 0.0, "total": -1.0}
    page = browser.new_page()
    page.route(url, lambda route: route.fulfill(body=home_page(served(CARD, inputs=inputs), keys=False)))
    page.route("**/predict*", lambda route: route.fulfill(json=answer | {"reasons": reasons}))
    page.goto(url)
    shown = page.locator("#reasons > .reasons > li")
    expect(shown).to_have_count(4)
    texts = [" ".join(text.split()) for text in shown.all_inner_texts()]
    assert texts == [
        "Usage 6 fields raises the score, odds × 3.3",
        "Visits 5 fields lowers the score, odds × 0.61",
        "Industry sector 0.1235: raises the score, odds × 1.3",
        "Size 0.1235: raises the score, odds × 1.3",
    ]
    expect(page.locator(".rest > summary")).to_have_text("4 smaller reasons, together: raises the score, odds × 1.1")
    page.locator(".rest > summary").click()
    expect(page.locator(".rest li")).to_have_count(4)
    shown.first.locator("summary").click()
    page.get_by_role("button", name="Week 3").first.click()
    assert page.evaluate("document.activeElement.dataset.field") == "usage: week 3"
    page.context.close()


def test_the_example_file_can_be_scored(open_page):
    page = open_page()
    name, lines = downloaded(page, "Download an example file")
    page.locator("#file").set_input_files(table([",".join(lines[1])], ",".join(lines[0])))
    expect(page.locator("#results tbody tr")).to_have_count(1)
    assert name == "example.csv"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_readable_on_a_phone(open_page, scheme):
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.get_by_label("Actions").fill("lots")
    page.locator("#file").set_input_files(table(["a1,3,x,Retail,Ann", "a2,99,0,Mining,A long name of an owner"]))
    page.get_by_role("button", name="Score the other row").click()
    expect(page.locator("#results tbody tr")).to_have_count(1)
    expect(page.locator(".field-error:visible")).to_have_count(1)
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    expect(page.locator("#results .probability .badge")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("button", name="Why rank 1?")).to_be_in_viewport(ratio=1)
    page.get_by_label("Users").scroll_into_view_if_needed()
    expect(page.locator("#score")).to_be_in_viewport()


def test_everything_can_be_reached_by_keyboard(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert {"find", "field-1", "field-2", "field-3", "file", "template", "Reset to typical values"} <= reached
    assert "Full model card" in reached
    page.locator(".reasons button").first.press("Enter")
    assert page.evaluate("document.activeElement.dataset.field") in {"users", "actions", "industry"}


def test_a_model_of_when_shows_the_probability_by_each_day_in_one_line(open_page):
    page = open_page()
    expect(page.locator(".by-days")).to_have_count(0)

    def with_days(route):
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"by_7d": 0.001, "by_30d": 0.0234})

    page.route("**/predict?explain=all", with_days)
    page.get_by_label("Actions").fill("2.5")
    expect(page.locator(".by-days")).to_have_text("Within 7 days 0.10%, 30 days 2.34%.")
