"""GET /: the page for people. Its style and script are inline, and it loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from mlsys.runs.input_column import input_columns
from mlsys.runs.model_outputs import more_names
from mlsys.text import joined
from serve.batch.read import key_columns
from serve.openapi import title
from serve.page.card import Card, inline, to_html
from serve.page.form import form_fields
from serve.page.raw_form import raw_form_fields
from serve.scoring.typical_cells import delimiter
from serve.served_models import LoadedModel

FOLDER = Path(__file__).parent
AUDIT = {"pass": ("pass", "Checks passed"), "warn": ("warn", "Checks passed with warnings")}
FAILED = ("fail", "A check failed: do not rely on the scores yet")
PURPOSE = re.compile(r"^This model predicts (which .+?)\.(?: Estimator: |$)", re.MULTILINE)  # in a card's summary
CAUTIONS = "Before you rely on it"
EXAMPLE = "28 days"
THRESHOLD = "The operating threshold"


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


STYLE = _read("page.css")
PARTS = ("shared", "record", "parts", "reasons", "csv", "numbers", "download", "results", "list")
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
    card, raw = Card.of(served.scorer.run.card), served.scorer.inputs.raw
    id_name, as_of_name = key_columns(served.scorer)
    return PAGE.substitute(
        style=STYLE,
        script=SCRIPT,
        title=escape(title(served)),
        question=_question(card) or escape(title(served)),
        first="the rows that the treatment helps most"
        if "uplift" in more_names(served.schema)
        else "the most likely rows",
        evidence=evidence(served.scorer.run.metrics),
        version=escape(served.resolved.version),
        badge=_badge(served.scorer.run.audit.get("status")),
        summary=_summary(card, served),
        details=_details(card),
        card=to_html(served.scorer.run.card.partition("\n")[2]),
        key="" if not keys else _read("key.html"),
        fields=form_fields(served.schema) if raw is None else raw_form_fields(raw, served.scorer.run.manifest.created),
        raw="" if raw is None else f' data-raw data-separator="{delimiter(raw)}"',
        needs=_needs(served),
        find=_find(served),
        id=escape(id_name),
        as_of=escape(as_of_name),
    )


def _badge(status: object) -> str:
    if status is None:
        return ""
    style, text = AUDIT.get(str(status), FAILED)
    return f'<a class="badge {style}" href="#about">{text}</a>'


def _needs(served: LoadedModel) -> str:
    """Return which columns a list needs, as HTML."""
    schema = served.schema
    if served.scorer.inputs.raw is not None:
        target = f"<code>{escape(str(schema['target']))}</code>"
        return f"The file needs the columns of the training table; the target {target} may be missing."
    names = [f"<code>{escape(name)}</code>" for name in key_columns(served.scorer)]
    optional = f"{names[0]} and {names[1]} are" if schema.get("as_of") else f"{names[0]} is"
    return f"The file needs the columns of the example file; {optional} optional."


def _find(served: LoadedModel) -> str:
    """Return an example of what a field is found by, as HTML."""
    columns = input_columns(served.schema)
    raw = served.scorer.inputs.raw
    if raw is not None:
        return escape(raw.columns[-1].name)
    return EXAMPLE if any(EXAMPLE in column.title for column in columns) else escape(columns[-1].name)


def _question(card: Card) -> str:
    """Return what the model predicts as a question, such as "Which accounts convert within 30 days?", as HTML."""
    found = PURPOSE.search(card.summary)
    return inline(f"{found[1][0].upper()}{found[1][1:]}?") if found else ""


def _changed(effect: float) -> str:
    return "lowered" if effect < 0 else "raised"


def evidence(metrics: Mapping[str, Any]) -> str:
    """Return how often the highest-ranked rows had the outcome in the tests, next to chance and activity, as HTML.

    For an uplift model, it is what the treatment changed.

    Parameters
    ----------
    metrics : mapping
        Content of ``metrics.json``.

    Examples
    --------
    >>> harm = {"uplift_top_30": {"value": -0.09}}
    >>> evidence({"overall": harm, "baselines": {"chance": harm}})[36:95]
    'In tests, the treatment lowered the rate of this outcome by'
    """
    measured = metrics.get("overall", {})
    if (found := measured.get("uplift_top_30", {}).get("value")) is not None:
        average = (metrics["baselines"]["chance"].get("uplift_top_30") or {}).get("value") or 0.0
        return (
            f"<p><strong>How good is it?</strong> In tests, the treatment {_changed(found)} the rate of this outcome "
            f"by {100 * abs(found):.1f} points among the 30% ranked highest, and {_changed(average)} it by "
            f"{100 * abs(average):.1f} points among all rows.</p>"
        )
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
