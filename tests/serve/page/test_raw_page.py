"""The page of a run that was trained on a flat table, in a real browser."""

import csv
import io

import pytest

from tests.serve.table_runs import INPUTS, write_leads_run

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: it is in the extra dev").expect
COLUMNS = ["at", "tier", "size", "staff", "paid", "promo", "joined", "size [m]"]
ROWS = "lead;at;tier;size;staff;paid;promo;joined;size [m]\nL1;20.03.2022;GOLD;2.000;4,5;Ja;;18.03.2022;2\n"


@pytest.fixture(scope="module")
def leads(tmp_path_factory):
    return write_leads_run(tmp_path_factory.mktemp("leads"))


@pytest.fixture(scope="module")
def url(leads, start, tmp_path_factory):
    with start(tmp_path_factory.mktemp("raw"), leads.path, "--workers", 1, "--log-url", "none") as service:
        yield service.url


def upload(page):
    page.locator("#file").set_input_files({"name": "new.csv", "mimeType": "text/csv", "buffer": ROWS.encode()})
    page.get_by_role("button", name="Why rank 1?").wait_for()


def test_the_form_has_the_columns_of_the_table_in_its_format(open_page):
    page = open_page()
    labels = page.locator(".field label").all_inner_texts()
    assert labels == COLUMNS
    cells = dict(zip(labels, [field.input_value() for field in page.locator("[data-field]").all()], strict=True))
    assert (cells["size"], cells["staff"], cells["paid"], cells["tier"]) == ("1,5", "4,5", "nein", "gold")
    assert page.get_by_label("paid").locator("option").all_inner_texts() == ["ja", "nein"]
    hints = page.locator("#record .hint").all_inner_texts()
    assert "a date such as 24.02.2020" in hints[labels.index("joined")]
    assert "1,5 to 2.000 in training" in hints[labels.index("size")]
    assert not [hint for hint in hints if "%" in hint or "levels" in hint]
    expect(page.locator("#file-hint")).to_contain_text("columns of the training table; the target won may be missing.")
    assert page.get_by_label("Find a field").get_attribute("placeholder") == "for example: size [m]"
    assert page.locator(".warnings").count() == 0


def test_the_example_file_has_the_format_of_the_table_and_can_be_scored(open_page):
    page = open_page()
    with page.expect_download() as found:
        page.locator("#template").click()
    content = found.value.path().read_bytes()
    header, row = csv.reader(io.StringIO(content.decode("utf-8-sig")), delimiter=";")
    assert header == ["lead", *COLUMNS]
    assert row[3:6] == ["1,5", "4,5", "nein"]
    page.locator("#file").set_input_files({"name": "example.csv", "mimeType": "text/csv", "buffer": content})
    expect(page.locator("#results h3")).to_have_text("1 row, ranked")


def test_a_record_is_sent_and_explained_by_columns(open_page):
    page = open_page()
    with page.expect_request("**/predict?explain=all") as found:
        page.get_by_label("paid").select_option("ja")
    assert list(found.value.post_data_json) == COLUMNS
    assert found.value.post_data_json["paid"] == "ja"
    assert found.value.post_data_json["size"] == "1,5"
    expect(page.locator("#reasons li").filter(has_text="paidja: ")).to_have_count(1)
    topic = page.locator("#reasons details:not(.rest)", has_text="joined")
    expect(topic).to_contain_text("3 parts")
    expect(topic.locator("li", has_text="joined, age")).to_contain_text("150 days: ")


def test_a_row_of_a_list_keeps_its_cells(open_page):
    page = open_page()
    with page.expect_request("**/predict?explain=all") as found:
        upload(page)
        page.get_by_role("button", name="Why rank 1?").click()
    expected = ["20.03.2022", "GOLD", "2.000", "4,5", "Ja", None, "18.03.2022", "2"]
    assert [found.value.post_data_json[name] for name in COLUMNS] == expected
    expect(page.get_by_label("size", exact=True)).to_have_value("2.000")


def test_a_list_may_have_inputs_instead_of_columns_and_columns_of_its_own(open_page):
    page = open_page()
    cells = INPUTS | {"size": "2.000", "staff": "4,5", "size _m_": 2, "Owner": "Ann"}
    content = "\n".join(";".join(map(str, line)) for line in (cells, cells.values()))
    page.locator("#file").set_input_files({"name": "new.csv", "mimeType": "text/csv", "buffer": content.encode()})
    with page.expect_response("**/predict?explain=all") as found:
        page.get_by_role("button", name="Why rank 1?").click()
    parts = ("promo_filled", "joined_age_days", "joined_month", "joined_weekday")
    sent = {name: cell if name in parts else str(cell) for name, cell in cells.items() if name != "Owner"}
    assert found.value.request.post_data_json == sent
    assert found.value.ok
    expect(page.locator("#score .value")).to_be_visible()


def test_on_a_phone_why_leads_to_the_reasons(open_page):
    page = open_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    upload(page)
    page.get_by_role("button", name="Why rank 1?").click()
    expect(page.get_by_role("heading", name="Why this score?")).to_be_in_viewport()
    expect(page.locator("#from")).to_contain_text("rank 1 of new.csv, line 2. Back to the list")
    expect(page.locator("#reasons")).to_be_focused()
