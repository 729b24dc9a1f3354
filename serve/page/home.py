"""GET /: the page for people. Its style and script are inline, and it loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from mlsys.text import joined
from serve.batch.read import key_columns
from serve.openapi import title
from serve.page.card import Card, inline, to_html
from serve.page.form import form_fields
from serve.scoring.raw_columns import TrainingTable
from serve.served_models import LoadedModel

FOLDER = Path(__file__).parent
AUDIT = {"pass": ("pass", "Checks passed"), "warn": ("warn", "Checks passed with warnings")}
FAILED = ("fail", "A check failed: do not rely on the scores yet")
PURPOSE = re.compile(r"^This model predicts (which .+?)\.(?: Estimator: |$)", re.MULTILINE)  # in a card's summary
CAUTIONS = "Before you rely on it"
THRESHOLD = "The operating threshold"


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


STYLE = _read("page.css")
PARTS = ("shared", "record", "reasons", "csv", "numbers", "download", "results", "list")
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
        question=_question(card) or escape(title(served)),
        evidence=_evidence(served.scorer.run.metrics),
        version=escape(served.resolved.version),
        badge=_badge(served.scorer.run.audit.get("status")),
        summary=_summary(card, served),
        details=_details(card),
        card=to_html(served.scorer.run.card.partition("\n")[2]),
        key="" if not keys else _read("key.html"),
        fields=form_fields(served.schema),
        raw=_raw(served.scorer.inputs.raw),
        id=escape(id_name),
        as_of=escape(as_of_name),
    )


def _badge(status: object) -> str:
    if status is None:
        return ""
    style, text = AUDIT.get(str(status), FAILED)
    return f'<a class="badge {style}" href="#about">{text}</a>'


def _raw(table: TrainingTable | None) -> str:
    """Return the attribute of a run whose lists are read as its training table: its inputs with decimal commas."""
    if table is None:
        return ""
    names = [name for column in table.columns if column.decimal == "," for name in column.outputs]
    return f' data-raw="{escape(json.dumps(names))}"'


def _question(card: Card) -> str:
    """Return what the model predicts as a question, such as "Which accounts convert within 30 days?", as HTML."""
    found = PURPOSE.search(card.summary)
    return inline(f"{found[1][0].upper()}{found[1][1:]}?") if found else ""


def _evidence(metrics: Mapping[str, Any]) -> str:
    """Return how often the highest-ranked rows had the outcome in the tests, next to chance and activity, as HTML."""
    measured = metrics.get("overall", {})
    sizes = sorted(int(name.partition("@")[2]) for name in measured if name.startswith("precision@"))
    if not sizes:
        return ""
    name, baselines = f"precision@{sizes[0]}", metrics.get("baselines", {})
    rates = [(baselines.get(kind) or {}).get(name, {}).get("value") for kind in ("activity", "chance")]
    texts = ("of the same number chosen by recent activity", "of all rows")
    others = [f"{_percent(rate)} {text}" for rate, text in zip(rates, texts, strict=True) if rate is not None]
    value = measured[name]["value"]
    if value is None or not others:
        return ""
    return (
        f"<p><strong>How good is it?</strong> In tests, {_percent(value)} of the {sizes[0]} rows ranked highest had "
        f"this outcome, compared with {joined(others)}.</p>"
    )


def _percent(rate: float) -> str:
    return f"{float(f'{100 * rate:.2g}'):g}%"


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
