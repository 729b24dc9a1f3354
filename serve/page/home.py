"""GET /: the page for people. Its style and script are inline, and it loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from string import Template

from serve.batch.read import key_columns
from serve.openapi import title
from serve.page.card import Card, inline, to_html
from serve.page.form import form_fields
from serve.served_models import LoadedModel

FOLDER = Path(__file__).parent
AUDIT = {"pass": ("pass", "Leakage audit passed"), "warn": ("warn", "Leakage audit: warnings")}
FAILED = ("fail", "Leakage audit failed")
CAUTIONS = "Before you rely on it"
THRESHOLD = "The operating threshold"


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


STYLE = _read("page.css")
PARTS = ("shared", "record", "csv", "results", "list")
SCRIPT = "(() => {\n" + "\n".join(_read(f"{name}.js") for name in PARTS) + "})();"
PAGE = Template(_read("page.html"))


def _source(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


# Allows only this page's own style and script, and requests to this service.
POLICY = (
    f"default-src 'none'; style-src {_source(STYLE)}; script-src {_source(SCRIPT)}; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def home_page(served: LoadedModel, *, keys: bool) -> str:
    """Return the page.

    Parameters
    ----------
    served : LoadedModel
        The model that is served now.
    keys : bool
        Whether requests need an API key.
    """
    card = Card.of(served.scorer.run.card)
    id_name, as_of_name = key_columns(served.scorer)
    return PAGE.substitute(
        style=STYLE,
        script=SCRIPT,
        title=escape(title(served)),
        version=escape(served.resolved.version),
        badge=_badge(served.scorer.run.audit.get("status")),
        summary=_summary(card, served),
        details=_details(card),
        card=to_html(served.scorer.run.card.partition("\n")[2]),
        key="" if not keys else _read("key.html"),
        fields=form_fields(served.schema),
        id=escape(id_name),
        as_of=escape(as_of_name),
    )


def _badge(status: object) -> str:
    if status is None:
        return ""
    style, text = AUDIT.get(str(status), FAILED)
    return f'<span class="badge {style}">{text}</span>'


def _summary(card: Card, served: LoadedModel) -> str:
    """Return the card's summary without its line of date and version, and its threshold."""
    blocks = [block for block in card.summary.split("\n\n") if " · mlsys " not in block]
    outcome = str(served.schema.get("target") or "the outcome")
    lead = to_html("\n\n".join(blocks)) or f"<p>This model predicts the probability of: {escape(outcome)}.</p>"
    threshold = (
        card.sections.get(THRESHOLD)
        or f"The decision is yes for a probability of {served.scorer.threshold:.2%} or more."
    )
    return f'{lead}<p class="muted">{inline(" ".join(threshold.split()))}</p>'


def _details(card: Card) -> str:
    text = card.sections.get(CAUTIONS)
    return f"<details><summary>{CAUTIONS}</summary>{to_html(text)}</details>" if text else ""
