"""The page in a real browser, used as people use it."""

import csv
import io
import re

import httpx
import pytest

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


def table(rows, header="account,users,actions,industry,Owner"):
    text = "\n".join([header, *rows]) + "\n"
    return {"name": "leads.csv", "mimeType": "text/csv", "buffer": text.encode()}


def ranks(page):
    return [row.split("\t")[1] for row in page.locator("#results tbody tr").all_inner_texts()]


def downloaded(page, name):
    with page.expect_download() as found:
        page.get_by_role("button", name=name).click()
    text = found.value.path().read_text(encoding="utf-8-sig")
    return found.value.suggested_filename, list(csv.reader(io.StringIO(text)))


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
    expect(reasons).to_have_count(4)
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
    name, lines = downloaded(page, "Download these rows")
    assert name == "leads-ranked.csv"
    assert lines[0][:4] == ["rank", "probability", "decision", "warnings"]
    assert lines[0][4:] == ["account", "users", "actions", "industry", "Owner"]
    record = {"users": None, "actions": 3, "industry": "Software"}
    assert float(lines[2][1]) == httpx.post(f"{url}/predict", json=record).json()["probability"]
    assert lines[2][4:] == ["a2", "", "3", "Software", 'Bo; "B"']
    page.get_by_role("button", name="Why rank 3?").click()
    expect(page.get_by_label("Industry sector")).to_have_value("Retail")
    expect(page.get_by_label("Actions")).to_have_value("-3")


def test_each_invalid_row_shows_what_to_do_and_the_others_can_be_scored(open_page):
    page = open_page()
    page.locator("#file").set_input_files(table(["a1,3,,Retail,Ann", 'a2,"1,5",3,,', "", "a3,1,0,Retail,Ann"]))
    found = page.locator("#problems tbody tr")
    expect(found).to_have_count(2)
    assert [row.split("\t") for row in found.all_inner_texts()] == [
        ["2", "actions", "Enter a value: it is required."],
        ["3", "users", 'Change "1,5" to a number, or leave it empty. Write decimals with a point: 1.5.'],
    ]
    expect(page.locator("#state")).to_contain_text("2 cells in 2 rows to fix in leads.csv")
    name, lines = downloaded(page, "Download this list")
    assert (name, len(lines)) == ("problems.csv", 3)
    page.get_by_role("button", name="Score the other 1 row").click()
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
    ({**table([]), "buffer": b"account\n\xc4rger\n"}, "choose “CSV UTF-8”"),
]


def test_a_file_that_is_not_a_valid_table_shows_what_to_fix(open_page):
    page = open_page()
    for file, advice in INVALID:
        page.locator("#file").set_input_files(file)
        expect(page.locator("#state, #problems").filter(has_text=advice).first).to_be_visible()
        assert page.locator("#results").inner_text() == ""


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
    page.get_by_role("button", name="Score the other 1 row").click()
    expect(page.locator("#results tbody tr")).to_have_count(1)
    expect(page.locator(".field-error:visible")).to_have_count(1)
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
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
