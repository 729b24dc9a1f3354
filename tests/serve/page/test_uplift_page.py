"""The page of an uplift model, in a real browser."""

import csv
import io

import pandas as pd
import pytest

from tests.test_uplift_run import campaign_file, trained  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def url(trained, start, tmp_path_factory):  # noqa: F811 - a fixture
    with start(tmp_path_factory.mktemp("uplift"), trained[0].path, "--workers", 1, "--log-url", "none") as service:
        yield service.url


def test_a_list_is_ranked_by_uplift_and_a_record_shows_it(open_page, campaign_file):  # noqa: F811 - a fixture
    page = open_page()
    text = page.locator("#score").inner_text()
    assert "Uplift: " in text
    assert "; the uplift has a model of its own, so it is not exactly their difference)." in text
    rows = pd.read_csv(campaign_file).drop(columns=["won", "effect"]).head(20).to_csv(index=False)
    page.locator("#file").set_input_files({"name": "new.csv", "mimeType": "text/csv", "buffer": rows.encode()})
    page.get_by_role("button", name="Why rank 1?").wait_for()
    assert page.locator("#results h3").inner_text() == "20 rows, ranked by uplift"
    with page.expect_download() as found:
        page.get_by_role("button", name="Download these rows").click()
    ranked = list(csv.DictReader(io.StringIO(found.value.path().read_text("utf-8-sig"))))
    uplifts = [float(row["uplift"]) for row in ranked]
    assert uplifts == sorted(uplifts, reverse=True)
    assert [row["rank"] for row in ranked] == [str(number + 1) for number in range(20)]


def test_a_treatment_of_neither_arm_says_what_to_write(open_page, campaign_file):  # noqa: F811 - a fixture
    page = open_page()
    assert page.get_by_label("mail").locator("option").all_inner_texts() == ["unknown", "Letter", "Nothing"]
    rows = pd.read_csv(campaign_file).drop(columns=["won", "effect"]).head(2).assign(mail=["Letter", "call"])
    body = rows.to_csv(index=False).encode()
    page.locator("#file").set_input_files({"name": "new.csv", "mimeType": "text/csv", "buffer": body})
    cell = page.get_by_text("""Change "call" to 'Letter' or 'Nothing', or leave it empty.""")
    cell.wait_for()
