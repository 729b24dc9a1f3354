"""Feature blocks for the company behind an account: size, web rank and industry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

import ibis
from pydantic.dataclasses import dataclass

from mlsys.features.base import EntityBlock, Feature

if TYPE_CHECKING:
    import ibis.expr.types as ir

NUMBER = "^[+-]?[0-9]+([.][0-9]+)?$"
FIRST_NUMBER, LAST_NUMBER = "^[^0-9]*([0-9]+)", "([0-9]+)[^0-9]*$"


@dataclass(frozen=True)
class EmployeeRange(EntityBlock):
    """A company size such as ``51 to 200``, ``10,001 or more`` or ``1``, as a numeric midpoint and as a category.

    The midpoint is geometric because sizes span orders of magnitude. An open range takes the bound it has.
    """

    attribute: str = "employee_range"

    @property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]
        """The block's attribute."""
        return (self.attribute,)

    def features(self, entity: ir.Table) -> list[Feature]:
        """Return the midpoint and the category, or only the number if the attribute is numeric."""
        size = entity[self.attribute]
        if size.type().is_numeric():
            return [Feature("employees", size, "employees", "people")]
        text = size.cast("string").replace(",", "")
        low, high = (text.re_extract(form, 1).nullif("").cast("float64") for form in (FIRST_NUMBER, LAST_NUMBER))
        return [
            Feature("employees", (low * high).sqrt(), "employees: geometric midpoint of the range", "people"),
            Feature("employee_range", size.cast("string"), "employees: range as given"),
        ]


@dataclass(frozen=True)
class WebRank(EntityBlock):
    """Log10 of a web-traffic rank, with a flag for unranked sites.

    Parameters
    ----------
    attribute : str
        Name of the attribute that holds the rank; 1 is the most visited site.
    unranked : int
        Ranks from this value on mean "unranked".
    """

    attribute: str = "alexa_rank"
    unranked: int = 16_000_001

    @property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]
        """The block's attribute."""
        return (self.attribute,)

    def features(self, entity: ir.Table) -> list[Feature]:
        """Return the log rank (missing if unranked) and the flag (missing if the rank is missing)."""
        rank = _number(entity[self.attribute])
        ranked = (rank > 0) & (rank < self.unranked)
        log_rank = ranked.ifelse(rank, ibis.null("float64")).log10()
        unranked = rank.isnull().ifelse(ibis.null("float64"), ranked.ifelse(0.0, 1.0))
        return [
            Feature("web_rank_log10", log_rank, "web traffic rank, log10; missing if unranked"),
            Feature("web_unranked", unranked, "1 if the site has no traffic rank"),
        ]


# Substrings of an industry's name (lower case, with runs of "_", "-" and spaces as one space), tried in this order:
# specific before general, so that "hospitality" does not match "hospital", nor "newspaper" "paper".
SECTORS: Mapping[str, Sequence[str]] = {
    "public and non-profit": ("non profit", "nonprofit", "government", "public admin", "public policy", "public safety",
                              "charit", "civic", "religio", "philanthrop", "political", "military", "judiciary",
                              "legislative", "law enforcement", "international affairs", "museum"),
    "travel and transport": ("hospitality", "travel", "tourism", "leisure", "recreation", "restaurant", "gambling",
                             "sports", "airline", "transport", "logistic", "maritime", "shipping"),
    "health": ("health", "hospital", "medical", "medicine", "pharma", "biotech", "wellness", "fitness", "veterinary"),
    "technology": ("technology", "software", "internet", "information", "computer", "saas", "semiconductor", "telecom",
                   "network"),
    "finance": ("financ", "bank", "insurance", "investment", "venture capital", "capital market", "accounting"),
    "education": ("education", "e learning", "school", "training", "librar", "university"),
    "marketing and media": ("marketing", "media", "advert", "publi", "newspaper", "broadcast", "design", "entertain",
                            "film", "motion picture", "music", "photograph", "writing", "printing", "graphic",
                            "animation", "games", "events", "performing arts", "fine art"),
    "energy and resources": ("energy", "oil", "mining", "utilit", "renewable", "environment", "agricultur", "farming",
                             "dairy", "fishery"),
    "real estate and construction": ("real estate", "construct", "building", "architect", "civil engineering"),
    "services": ("consult", "staffing", "recruiting", "human resource", "legal", "law ", "professional", "business",
                 "service", "research", "management", "outsourc", "security", "translation", "facilities"),
    "retail and consumer": ("retail", "consumer", "ecommerce", "e commerce", "wholesale", "supermarket", "import",
                            "trade", "apparel", "fashion", "cosmetic", "food", "beverage", "wine", "luxury",
                            "furniture", "sporting", "tobacco", "arts and"),
    "manufacturing": ("manufactur", "industrial", "machinery", "automotive", "automation", "electronic", "chemical",
                      "plastics", "mechanical", "aviation", "aerospace", "defense", "textile", "packaging", "paper",
                      "glass", "materials"),
}  # fmt: skip


@dataclass(frozen=True)
class Industry(EntityBlock):
    """An industry's name from any naming scheme, mapped to about a dozen sectors.

    ``COMPUTER_SOFTWARE`` and ``Technology - Software`` are both ``technology``. A name that matches no sector becomes
    ``other``; a missing name stays missing.

    Parameters
    ----------
    attribute : str
        Name of the attribute that holds the industry.
    sectors : mapping of str to sequence of str
        Substrings that identify each sector; the first match wins.
    """

    attribute: str = "industry"
    sectors: Mapping[str, Sequence[str]] = field(default_factory=lambda: SECTORS)

    @property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]
        """The block's attribute."""
        return (self.attribute,)

    def features(self, entity: ir.Table) -> list[Feature]:
        """Return the sector as a category."""
        name = entity[self.attribute].cast("string").lower().re_replace("[ _-]+", " ")
        branches = [
            (ibis.or_(*(name.contains(part) for part in parts)), ibis.literal(sector))
            for sector, parts in self.sectors.items()
        ]
        sector = ibis.cases((name.isnull(), ibis.null("string")), *branches, else_="other")
        return [Feature("industry", sector, "industry sector")]


def _number(column: ir.Column) -> ir.NumericColumn:
    if column.type().is_string():  # databases fail on text that is not a number
        text = column.strip()
        column = text.re_search(NUMBER).ifelse(text, ibis.null("string"))
    return column.cast("float64")
