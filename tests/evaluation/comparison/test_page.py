import itertools
import re

import pytest

from mlsys.evaluation.comparison import compare, gather
from mlsys.evaluation.comparison.page import render_page
from tests.evaluation.comparison.conftest import predictions
from tests.pages import Page


@pytest.fixture(scope="module")
def html(pair, tmp_path_factory):
    from mlsys.runs.catalog.index import RunIndex

    return render_page(compare(gather(["good", "poor"], root=pair, index=RunIndex(tmp_path_factory.mktemp("i") / "i"))))


def test_the_page_is_self_contained(html):
    page = Page(html)
    assert page.open == []
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert not re.search(r"@import|<script|url\(|https?://", html)
    assert "default-src 'none'" in html
    assert len(page.all("img")) == 5
    assert len(html) < 400_000


def test_the_page_is_accessible(html):
    page = Page(html)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(len(image["alt"]) > 40 for image in page.all("img"))
    assert all(cell.get("scope") in ("col", "row", "rowgroup") for cell in page.all("th"))
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert {tag["aria-labelledby"] for _, tag in page.tags if "aria-labelledby" in tag} <= set(page.ids)


def test_the_page_contains_the_results(html):
    text = " ".join(" ".join(Page(html).text).split())
    for fact in (
        "Comparison of 2 runs",
        "ROC-AUC: B is worse",
        "model=logistic",
        "sklearn.Dummy",
        "10 ms",
        "incomplete",
    ):
        assert fact in text


def test_the_page_is_reproducible(html, pair, index):
    assert render_page(compare(gather(["good", "poor"], root=pair, index=index))) == html


def test_many_runs_not_comparable_and_left_out(tmp_path, write, index):
    for number in range(9):
        rows = predictions(0.3 * number, entities=40, seed=number)
        write(tmp_path / "grid" / f"a-rather-long-name-{number}", rows, **{"metrics.bootstrap_resamples": 10})
    write(tmp_path / "grid" / "other", predictions(1.0, as_ofs=(None,)), fingerprint="0" * 64)
    write(tmp_path / "grid" / "failed", status="failed")
    html = render_page(compare(gather(["grid"], root=tmp_path, index=index)))
    page = Page(html)
    assert page.open == []
    assert "not comparable" in html
    assert "failed" in html
    assert not re.search(r"\bnan\b|\bNone\b", html)


def test_the_command_can_be_pasted(tmp_path, write, index):
    for name in ("a b", "c"):
        write(tmp_path / name)
    html = render_page(compare(gather(["a b", "c"], root=tmp_path, index=index)))
    assert "mlsys compare 'a b' c --html FILE" in Page(html).words


def test_folds_are_in_their_order(tmp_path, write, index):
    for name in ("a", "b"):
        write(tmp_path / name, predictions(1.0, as_ofs=(None,) * 11, entities=40))
    page = Page(render_page(compare(gather(["a", "b"], root=tmp_path, index=index))))
    names = re.findall(r"fold \d+", page.words)
    assert names == [f"fold {number}" for number in range(11)]


def test_markup_in_names_stays_text(tmp_path, write, index):
    evil = "<script>alert(1)<"
    for name in (evil, "b"):
        write(tmp_path / name, **{"model.name": f"{evil}{name}", "choices.model": f"{evil}{name}"})
    html = render_page(compare(gather([evil, "b"], root=tmp_path, index=index)))
    assert Page(html).open == []
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_without_data_to_plot_there_are_no_plots(tmp_path, write, index):
    rows = predictions(1.0, as_ofs=(None,)).assign(label=0)
    for name in ("a", "b"):
        write(tmp_path / name, rows)
    html = render_page(compare(gather(["a", "b"], root=tmp_path, index=index)))
    assert Page(html).all("img") == []
    assert not re.search(r"\bnan\b|\bNone\b", html)
