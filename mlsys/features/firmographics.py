"""Features of the company behind an account: size, web rank and industry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING

import ibis
from pydantic.dataclasses import dataclass

from mlsys.features.base import EntityBlock, Feature

if TYPE_CHECKING:
    import ibis.expr.types as ir


@dataclass(frozen=True)
class EmployeeRange(EntityBlock):
    """A size range such as ``51 to 200`` or ``10,001 or more``, as an ordered midpoint and as a category.

    The midpoint is geometric, because sizes spread over orders of magnitude; an open range counts as its lower end.
    """

    attribute: str = "employee_range"

    @property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]
        """The one attribute."""
        return (self.attribute,)

    def features(self, entity: ir.Table) -> list[Feature]:
        """Return the midpoint and the category."""
        text = entity[self.attribute].cast("string").replace(",", "")
        low = text.re_extract(r"^\s*(\d+)", 1).nullif("").cast("float64")
        high = text.re_extract(r"(\d+)\s*$", 1).nullif("").cast("float64")
        midpoint = (low * high.fill_null(low)).sqrt()
        return [
            Feature("employees", midpoint, "employees: geometric midpoint of the range", "people"),
            Feature("employee_range", entity[self.attribute].cast("string"), "employees: range as given"),
        ]


@dataclass(frozen=True)
class WebRank(EntityBlock):
    """Log of a web-traffic rank, with a flag where the site is unranked.

    Parameters
    ----------
    attribute : str
        The rank; 1 is the most visited site.
    unranked : int
        The value that stands for "no rank", and from which on ranks mean the same.
    """

    attribute: str = "alexa_rank"
    unranked: int = 16_000_001

    @property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]
        """The one attribute."""
        return (self.attribute,)

    def features(self, entity: ir.Table) -> list[Feature]:
        """Return the log rank (missing where unranked) and the flag (missing where the rank is)."""
        rank = entity[self.attribute].cast("float64")
        ranked = (rank > 0) & (rank < self.unranked)
        log_rank = ranked.ifelse(rank, ibis.null("float64")).log10()
        unranked = rank.isnull().ifelse(ibis.null("float64"), (~ranked).cast("float64"))
        return [
            Feature("web_rank_log10", log_rank, "web traffic rank, log10; missing where unranked"),
            Feature("web_unranked", unranked, "1 where the site has no traffic rank"),
        ]


# Substrings of an industry's name (lower case, "_" and "-" as blanks) in the order in which they are tried.
SECTORS: Mapping[str, Sequence[str]] = {
    "health": ("health", "hospital", "medical", "pharma", "biotech", "wellness", "veterinary"),
    "technology": ("technology", "software", "internet", "information", "computer", "saas",
                   "semiconductor", "telecom", "network"),
    "finance": ("financ", "bank", "insurance", "invest", "venture", "accounting", "capital"),
    "education": ("education", "e learning", "school", "training", "library", "librar"),
    "marketing and media": ("marketing", "media", "advert", "publish", "broadcast", "design", "entertain", "film",
                            "music", "photograph", "writing", "printing", "graphic", "animation", "games", "events"),
    "services": ("consult", "staffing", "human resource", "legal", "law ", "professional", "business", "service", "research",
                 "management", "outsourc", "security", "translation", "think tank"),
    "real estate and construction": ("real estate", "construct", "building", "architect", "civil engineering", "facilities"),
    "retail and consumer": ("retail", "consumer", "ecommerce", "e commerce", "apparel", "fashion", "cosmetic", "food", "wine",
                            "luxury", "furniture", "sporting", "wholesale", "supermarket", "restaurant", "beverage"),
    "manufacturing": ("manufactur", "industrial", "machinery", "automotive", "electronic", "chemical", "plastics", "mechanical",
                      "aviation", "aerospace", "defense", "textile", "packaging", "paper", "glass", "materials"),
    "travel and transport": ("travel", "hospitality", "leisure", "transport", "logistic", "airline", "maritime", "tourism",
                             "recreation", "supply chain"),
    "energy and resources": ("energy", "oil", "mining", "utilit", "renewable", "environment", "agricultur", "farming", "dairy"),
    "public and non-profit": ("government", "non profit", "nonprofit", "public", "charit", "civic", "religio", "philanthrop",
                              "political", "international affairs", "military", "judiciary"),
}  # fmt: skip


@dataclass(frozen=True)
class Industry(EntityBlock):
    """An industry's name from any naming scheme, brought to about a dozen sectors.

    ``COMPUTER_SOFTWARE`` and ``Technology - Software`` are both ``technology``. A name that matches no sector is
    ``other``; an empty one stays missing.

    Parameters
    ----------
    attribute : str
        The industry's name.
    sectors : mapping of str to sequence of str
        Sector to the substrings that tell it; the first that matches wins.
    """

    attribute: str = "industry"
    sectors: Mapping[str, Sequence[str]] = field(default_factory=lambda: SECTORS)

    @property
    def attributes(self) -> Sequence[str]:  # type: ignore[override]
        """The one attribute."""
        return (self.attribute,)

    def features(self, entity: ir.Table) -> list[Feature]:
        """Return the sector."""
        name = entity[self.attribute].cast("string").lower().replace("_", " ").replace("-", " ")
        branches = [
            (ibis.or_(*(name.contains(part) for part in parts)), ibis.literal(sector))
            for sector, parts in self.sectors.items()
        ]
        sector = ibis.cases((name.isnull(), ibis.null("string")), *branches, else_="other")
        return [Feature("industry", sector, "industry sector")]
