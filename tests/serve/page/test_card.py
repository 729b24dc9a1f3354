"""The card as HTML."""

import html

import pytest

from mlsys.evaluation.report.pages import code_span, escape_markdown
from serve.page.card import Card, inline, to_html
from tests.pages import Page

TEXT = """# Model card: a <b>

2026-11-25 · mlsys 0.1.0

It *ranks* `x|y`.

- Of the **10** that it
- ranks

## How good it is

| Metric | Value |
| --- | ---: |
| ROC \\| AUC | 0.9 |

## The data

| | |
| --- | --- |
| Rows | <script> |
"""


def test_a_card_is_parsed():
    card = Card.of(TEXT)
    assert list(card.sections) == ["How good it is", "The data"]
    assert card.summary.startswith("2026-11-25")
    assert card.summary.endswith("- ranks")


def test_markdown_becomes_well_formed_html_and_the_rest_is_escaped():
    html = to_html(TEXT.partition("\n")[2])
    page = Page(html)
    assert page.open == []
    assert "<em>ranks</em> <code>x|y</code>" in html
    assert "<ul><li>Of the <strong>10</strong> that it</li><li>ranks</li></ul>" in html
    assert '<th scope="row">ROC | AUC</th><td class="number">0.9</td>' in html
    assert "&lt;script&gt;" in html
    assert [tag for tag, _ in page.tags if tag.startswith("h")] == ["h3", "h3"]


@pytest.mark.parametrize(
    "name", ["_plan_", "*a*", "[seats]", "<b>x</b>", "a`b", r"a\*b", "a|b", "**", "5 * 3 * 2", "&amp;"]
)
def test_names_in_a_card_are_shown_as_they_are(name):
    assert inline(f"**{escape_markdown(name)}** is") == f"<strong>{html.escape(name)}</strong> is"
    assert inline(code_span(name.replace("|", ""))) == f"<code>{html.escape(name.replace('|', ''))}</code>"


def test_a_card_without_sections_is_all_summary():
    assert Card.of("# A card\n\nWords.\n") == Card("Words.", {})
