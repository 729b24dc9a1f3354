import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys.errors import ConfigError
from mlsys.runs.catalog.where import BooleanOperation, Condition, Not, parse

RUN = {"model": "catboost", "roc_auc": 0.9, "seed": 3, "tags": ["a", "b"], "on": True, "none": None, "depth": "1e-3"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model=catboost", True),
        ("model==catboost", True),
        ("model = xgboost", False),
        ("model!=xgboost", True),
        ("model~BOOST", True),
        ("roc_auc>0.5 and roc_auc<=.9", True),
        ("roc_auc>0.9", False),
        ("seed=3", True),
        ("seed=3.0", True),
        ('seed="3"', True),
        ("seed='4'", False),
        ("tags=a", True),
        ("tags=c", False),
        ("tags!=c", True),
        ("on=true and not on=false", True),
        ("on=1", False),
        ("none=null", True),
        ("model=null", False),
        ("none!=0", True),
        ("none<1", False),
        ("absent=null", True),
        ("model>1", False),
        ("depth=0.001", True),
        ("model=x or model=y or seed=3", True),
        ("model=x or seed=3 and roc_auc>0.95", False),
        ("(model=x or seed=3) and roc_auc>0.5", True),
        ("NOT (model=x) AND seed>=3", True),
    ],
)
def test_conditions(text, expected):
    assert parse(text).holds(RUN.get) is expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("created>=2026-08-01", "2026-08-01"),
        ("path=/data/a-b/run.1", "/data/a-b/run.1"),
        ("x='it is (so)'", "it is (so)"),
        (r'x="a \"b\""', 'a "b"'),
        ("x=order", "order"),
        ("x=1e-3", 0.001),
        ("x=nan", "nan"),
        ("x=True", True),
    ],
)
def test_unquoted_and_quoted_values(text, value):
    assert parse(text).value == value


def test_names_may_start_like_operators():
    names = ["precision@10", "model.max_depth", "android", "not_this", "order"]
    assert list(parse(" and ".join(f"{name}=1" for name in names)).names()) == names


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "nothing after ''"),
        ("model=", "nothing after 'model='"),
        ("model=a and", "nothing after"),
        ("model=a and and seed=1", "'and seed=1' at position 13"),
        ("model=cat boost", "'boost' at position 11"),
        ("(model=a", "nothing after"),
        ("0.5<roc_auc", "'0.5<roc_auc' at position 1"),
        ("model=a)", "')' at position 8"),
        ("model like a", "'like a' at position 7"),
        ("(" * 5000, "too deeply"),
    ],
)
def test_invalid_conditions(text, got):
    with pytest.raises(ConfigError) as error:
        parse(text)
    (problem,) = error.value.problems
    assert got in problem.got
    assert "= != < <= > >= ~" in problem.allowed


WORDS = st.text("abcdefgh_", min_size=1, max_size=6)
VALUES = st.one_of(st.none(), st.booleans(), st.floats(-9, 9).map(lambda x: round(x, 3)), st.text(max_size=8))
COMPARISONS = st.builds(Condition, WORDS, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~"]), VALUES)
EXPRESSIONS = st.recursive(
    COMPARISONS,
    lambda parts: (
        st.builds(Not, parts)
        | st.builds(
            BooleanOperation,
            st.sampled_from(["and", "or"]),
            st.tuples(parts, parts) | st.tuples(parts, parts, parts),
        )
    ),
    max_leaves=8,
)


def to_text(expression):
    """Format an expression with every part in parentheses."""
    if isinstance(expression, Condition):
        value = expression.value
        if isinstance(value, str):
            shown = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        else:
            shown = "null" if value is None else str(value).lower()
        return f"{expression.name}{expression.op}{shown}"
    if isinstance(expression, Not):
        return f"not ({to_text(expression.part)})"
    return f" {expression.op} ".join(f"({to_text(part)})" for part in expression.parts)


def evaluate(expression, values):
    """Evaluate an expression with Python's own operators."""
    if isinstance(expression, Not):
        return not evaluate(expression.part, values)
    if isinstance(expression, BooleanOperation):
        parts = [evaluate(part, values) for part in expression.parts]
        return all(parts) if expression.op == "and" else any(parts)
    return expression.holds(values.get)


@given(EXPRESSIONS, st.dictionaries(WORDS, VALUES, max_size=5))
def test_expressions_round_trip(expression, values):
    text = to_text(expression)
    if "\n" in text or "\r" in text:  # a value with a line break cannot be written on a command line
        return
    read = parse(text)
    assert read.holds(values.get) == evaluate(expression, values)
    assert sorted(read.names()) == sorted(expression.names())


@given(st.text(max_size=30))
def test_any_text_is_parsed_or_rejected(text):
    with contextlib.suppress(ConfigError):  # any other error fails
        parse(text).holds(RUN.get)
