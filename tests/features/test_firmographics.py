"""Company features for every spelling in the real tables."""

import math
from pathlib import Path

import ibis
import pandas as pd
import pyarrow as pa
import pytest

from mlsys.data.demo import INDUSTRIES
from mlsys.features import EmployeeRange, Industry, WebRank

REAL = Path(__file__).parents[3] / "shared" / "data" / "hubspot"

SECTORS = {
    "technology": [
        *("COMPUTER_SOFTWARE", "Technology - Software", "INFORMATION_TECHNOLOGY_AND_SERVICES", "Software / IT", "SaaS"),
        *("COMPUTER_NETWORK_SECURITY", "Telecom & Mobile Communications", "Technology - Hardware and Equipment"),
    ],
    "education": [
        "HIGHER_EDUCATION",
        "Education",
        "E_LEARNING",
        "EDUCATION_MANAGEMENT",
        "PROFESSIONAL_TRAINING_COACHING",
    ],
    "finance": ["FINANCIAL_SERVICES", "Finance & Insurance", "Banking/Financial Services", "INVESTMENT_MANAGEMENT"],
    "health": ["HOSPITAL_HEALTH_CARE", "Healthcare", "HEALTH_WELLNESS_AND_FITNESS", "BIOTECHNOLOGY"],
    "public and non-profit": [
        *("NON_PROFIT_ORGANIZATION_MANAGEMENT", "Non-Profit/Educational Institution", "Non Profit/EDU/.gov"),
        *("GOVERNMENT_ADMINISTRATION", "LAW_ENFORCEMENT", "CIVIC_SOCIAL_ORGANIZATION"),
    ],
    "travel and transport": ["HOSPITALITY", "LEISURE_TRAVEL_TOURISM", "AIRLINES_AVIATION", "travel"],
    "marketing and media": [
        *("MARKETING_AND_ADVERTISING", "Marketing Services", "Media & Publishing", "NEWSPAPERS", "EVENTS_SERVICES"),
        "PUBLIC_RELATIONS_AND_COMMUNICATIONS",
    ],
    "services": [
        *("Consulting/Advisory", "MANAGEMENT_CONSULTING", "Business Services - General", "Recruiting/Staffing"),
        *("STAFFING_AND_RECRUITING", "SECURITY_AND_INVESTIGATIONS", "CONSUMER_SERVICES"),
    ],
    "energy and resources": ["OIL_ENERGY", "ENVIRONMENTAL_SERVICES", "Agriculture"],
    "real estate and construction": ["REAL_ESTATE", "real estate", "Building, Construction And Architecture"],
    "retail and consumer": ["RETAIL", "Consumer Products", "eCommerce", "E- Commerce", "IMPORT_AND_EXPORT"],
    "manufacturing": ["Manufacturing", "AUTOMOTIVE", "ELECTRICAL_ELECTRONIC_MANUFACTURING", "TEXTILES"],
    "other": ["Other", "ustedes", ""],
}


def columns_of(block, kind, values):
    entity = ibis.memtable(pa.table({block.attributes[0]: pa.array(values, kind)}))
    features = {feature.name: feature.expression for feature in block.features(entity)}
    return entity.select(**features).to_pyarrow().to_pydict()


def industries(names):
    return columns_of(Industry(), pa.string(), names)["industry"]


@pytest.mark.parametrize("sector", SECTORS)
def test_both_naming_schemes_map_to_the_same_sector(sector):
    assert dict.fromkeys(SECTORS[sector], sector) == dict(
        zip(SECTORS[sector], industries(SECTORS[sector]), strict=True)
    )


def test_a_missing_industry_is_missing_not_other():
    assert industries(["Retail", None]) == ["retail and consumer", None]


def test_every_demo_industry_has_a_sector():
    found = dict(zip(INDUSTRIES, industries(list(INDUSTRIES)), strict=True))
    assert [name for name, sector in found.items() if sector == "other"] == ["Other"]
    assert len(set(found.values())) == 13


def test_custom_sectors():
    block = Industry(attribute="branche", sectors={"food": ["bäck", "imbiss"]})
    assert columns_of(block, pa.string(), ["Bäckerei", "Schlosserei"])["industry"] == ["food", "other"]


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real tables are not at {REAL}")
def test_few_real_industries_have_no_sector():
    tables = [pd.read_csv(REAL / f"{name}.csv", dtype=str) for name in ("customers", "noncustomers")]
    names = pd.concat([table["INDUSTRY"] for table in tables]).dropna()
    sectors = pd.Series(industries(names.tolist()))
    assert ((sectors == "other") & (names.to_numpy() != "Other")).sum() <= 0.01 * len(names)
    assert sectors.nunique() == 13


@pytest.mark.parametrize(
    ("text", "employees"),
    [
        ("1", 1),
        ("2 to 5", math.sqrt(10)),
        ("6 to 10", math.sqrt(60)),
        ("51 to 200", math.sqrt(51 * 200)),
        ("1001 to 10000", math.sqrt(1001 * 10_000)),
        ("10,001 or more", 10_001),
        ("51-200", math.sqrt(51 * 200)),
        (" 2 to 5 people ", math.sqrt(10)),
        ("more than 500", 500),
        ("0", 0),
        ("many", None),
        ("", None),
        (None, None),
    ],
)
def test_sizes_become_a_midpoint_and_a_category(text, employees):
    found = columns_of(EmployeeRange(), pa.string(), [text])
    assert found["employees"] == [pytest.approx(employees, rel=1e-12) if employees else employees]
    assert found["employee_range"] == [text]


def test_midpoints_follow_the_order_of_the_ranges():
    ranges = ["1", "2 to 5", "6 to 10", "11 to 25", "26 to 50", "51 to 200", "201 to 1000", "1001 to 10000"]
    midpoints = columns_of(EmployeeRange(), pa.string(), [*ranges, "10,001 or more"])["employees"]
    assert midpoints == sorted(midpoints)


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64()])
def test_a_numeric_size_stays_a_number(kind):
    assert columns_of(EmployeeRange("staff"), kind, [5, None]) == {"employees": [5, None]}


@pytest.mark.parametrize(
    ("kind", "ranks"),
    [
        (pa.int64(), [1, 1000, 16_000_001, 99_000_000, 0, -3, None]),
        (pa.float64(), [1.0, 1000.0, 16_000_001.0, 99_000_000.0, 0.0, -3.0, None]),
        (pa.string(), ["1", " 1000", "16000001", "99000000", "0", "-3", "unknown"]),
    ],
)
def test_log_rank_and_unranked_flag(kind, ranks):
    found = columns_of(WebRank(), kind, ranks)
    assert found["web_rank_log10"] == [0, 3, None, None, None, None, None]
    assert found["web_unranked"] == [0, 0, 1, 1, 1, 1, None]


@pytest.mark.parametrize("block", [EmployeeRange(), WebRank(), Industry()])
@pytest.mark.parametrize("kind", [pa.string(), pa.int64()])
def test_an_empty_attribute_gives_missing_values(block, kind):
    for values in columns_of(block, kind, [None, None]).values():
        assert values == [None, None]


def test_company_features_reach_the_panel_of_every_as_of(panel_of, event):
    accounts = pd.DataFrame({"id": [1, 2], "industry": ["SaaS", None], "alexa_rank": [100.0, None]})
    panel = panel_of([Industry(), WebRank()], ["2020-01-01", "2020-02-01"], event("2020-01-05"), accounts)
    assert panel.frame["industry"].fillna("?").tolist() == ["technology", "?", "technology", "?"]
    assert panel.frame["web_rank_log10"].tolist()[::2] == [2, 2]
    assert {info.name: info.kind for info in panel.features}["industry"] == "category"
