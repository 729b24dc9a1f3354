"""Parameters of models that refer to columns: written with the names of schema.json, passed as each library wants them.

A model does not see the columns of schema.json: an encoder reorders them, one-hot encodes some and adds indicators. A
config names the columns of schema.json, or lists values in its order; both are checked against the panel, and
translated to the columns that the encoder returns.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal, TypeAlias

from mlsys.errors import Problem, closest
from mlsys.pipeline.outputs import Output
from mlsys.text import counted

Kind: TypeAlias = Literal["number", "category"]
MAX_LISTED = 20


@dataclass(frozen=True)
class Columns:
    """The columns of the panel, which are those of schema.json.

    Attributes
    ----------
    names : sequence of str
        All columns, in the order of schema.json.
    categories : sequence of str
        The category columns; the others are number columns.
    raw_names : mapping of str to str
        Names in the raw table that schema.json cannot have, each with the name there.

    Examples
    --------
    >>> columns = Columns(["plan", "seats _x_"], ["plan"], {"seats [x]": "seats _x_"})
    >>> [columns.find(written) for written in ("seats [x]", "seats _x_", 0, "0")]
    ['seats _x_', 'seats _x_', 'plan', None]
    """

    names: Sequence[str]
    categories: Sequence[str]
    raw_names: Mapping[str, str] = field(default_factory=dict)

    def find(self, written: object) -> str | None:
        """Return the column that a config means by a name or a position; None if there is no such column."""
        if isinstance(written, str):
            return written if written in self.names else self.raw_names.get(written)
        position = _whole(written)
        return self.names[position] if position is not None and 0 <= position < len(self.names) else None

    def closest(self, written: object) -> str | None:
        """Return the column whose name is spelled most like what a config has."""
        near = closest(str(written), [*self.names, *self.raw_names])
        return near if near is None else self.find(near)

    def of(self, kind: Kind | None) -> list[str]:
        """Return the columns of a kind; all of them for None."""
        return [name for name in self.names if kind is None or (name in self.categories) == (kind == "category")]


@dataclass(frozen=True)
class ColumnParameter:
    """How one parameter of an estimator refers to columns.

    Attributes
    ----------
    form : {"values", "groups", "terms", "columns", "categories", "types"}
        ``values``: one value per column, as a map from names or a list in the order of schema.json. ``groups``: a list
        of lists of columns. ``terms``: a list of lists of columns that act together. ``columns``: a list of columns.
        ``categories``: a list of category columns, which is checked but not passed on, because the encoder passes every
        category column already. ``types``: types or names of columns, which follow from the data and cannot be set.
    kind : {"number", "category"} or None
        The only kind of column that may have a value; None for any.
    value : {"direction", "number", "weight", "count", "text"}
        What a value is: a direction is -1, 0 or 1, a weight at least 0, a count at least 2.
    default : object
        Value of the columns without one, or with null.
    default_parameter : str or None
        Parameter of the estimator whose value, if set, replaces `default`.
    words : tuple of str
        Texts that are accepted instead, and passed on unchanged.
    counts : bool
        Whether a number of terms, a fraction of the columns or a text such as ``3x`` is accepted instead, and passed on
        unchanged.
    write : callable
        Converts a list (one value per encoded column, or positions of encoded columns) to the library's form.
    """

    form: Literal["values", "groups", "terms", "columns", "categories", "types"]
    kind: Kind | None = None
    value: Literal["direction", "number", "weight", "count", "text"] = "number"
    default: Any = None
    default_parameter: str | None = None
    words: tuple[str, ...] = ()
    counts: bool = False
    write: Callable[[list[Any]], Any] = list

    def problems(self, value: Any, where: str, columns: Columns, default: Any = None) -> list[Problem]:  # noqa: ANN401
        """Find what is wrong with a value of the parameter.

        Parameters
        ----------
        value : object
            As in the config; None if it is not set.
        where : str
            Config key of the parameter.
        columns : Columns
        default : object, optional
            Value of the parameter named by `default_parameter`.

        Examples
        --------
        >>> monotone = ColumnParameter("values", kind="number", value="direction", default=0)
        >>> columns = Columns(["plan", "seats"], ["plan"])
        >>> monotone.problems({"seats": 1}, "model.monotone_constraints", columns)
        []
        >>> print(monotone.problems({"seat": 1}, "model.monotone_constraints", columns)[0])
          model.monotone_constraints.seat
              got:     an unknown column
              allowed: a column of schema.json: plan, seats
              closest: seats
        """
        if self._is_own_word(value):
            return []
        if self.form == "types":
            return [Problem(where, repr(value), "null: types and names of the columns follow from the data")]
        if self.form == "values":
            return self._value_problems(value, where, columns, default)
        nested = self.form in ("groups", "terms")
        groups = value if nested else [value]
        if not isinstance(groups, Sequence) or not all(_is_list(group) for group in [groups, *groups]):
            return [Problem(where, repr(value), self._expected(columns))]
        named = [(f"{where}.{i}" if nested else where, each) for i, group in enumerate(groups) for each in group]
        problems = [problem for place, each in named for problem in self._name_problems(each, place, columns)]
        if self.form == "terms" and not problems:
            return [
                Problem(f"{where}.{i}", _in_yaml(group), "each column once, at least one")
                for i, group in enumerate(groups)
                if not group or len({columns.find(each) for each in group}) < len(group)
            ]
        return problems

    def translated(self, value: Any, columns: Columns, outputs: Sequence[Output], default: Any = None) -> Any:  # noqa: ANN401
        """Return the value in the library's form, for the columns that an encoder returns; None to leave it out.

        Parameters
        ----------
        value : object
            As in the config, without problems.
        columns : Columns
        outputs : sequence of Output
            The encoded columns.
        default : object, optional
            Value of the parameter named by `default_parameter`.

        Examples
        --------
        >>> monotone = ColumnParameter("values", kind="number", value="direction", default=0, write=tuple)
        >>> encoded = [Output("seats", False), Output("seats", False, indicator=True), Output("plan", True)]
        >>> monotone.translated({"seats": 1}, Columns(["plan", "seats"], ["plan"]), encoded)
        (1, 0, 0)
        """
        if self._is_own_word(value):
            return value
        if self.form == "terms":
            return self.write([term for group in value for term in _terms(group, columns, outputs)])
        if self.form == "values":
            rest = self.default if default is None else default
            given = {columns.find(name): self._converted(each, rest) for name, each in _by_name(value, columns.names)}
            # A missing-value indicator is 0 or 1: it has no direction, bins or borders of its own.
            without = {output for output in outputs if output.indicator and self.kind == "number"}
            return self.write([rest if output in without else given.get(output.source, rest) for output in outputs])
        groups = value if self.form == "groups" else [value]
        positions = [_positions(group, columns, outputs) for group in groups]
        chosen: list[Any] = positions if self.form == "groups" else positions[0]
        return self.write(chosen) if chosen and self.form != "categories" else None

    def _value_problems(self, value: Any, where: str, columns: Columns, default: Any) -> list[Problem]:  # noqa: ANN401
        if not isinstance(value, Mapping) and not _is_list(value):
            return [Problem(where, repr(value), self._expected(columns))]
        if not isinstance(value, Mapping) and len(value) != len(columns.names):
            got = f"a list of {counted(len(value), 'value')}"
            return [
                Problem(where, got, f"{counted(len(columns.names), 'value')}, one per column: {_listed(columns.names)}")
            ]
        problems, named = [], _by_name(value, columns.names)
        rest = self.default if default is None else default
        for name, each in named:
            place = f"{where}.{name}"
            if each is not None and not self._is_value(each):
                problems.append(Problem(place, repr(each), _VALUES[self.value]))
            elif columns.find(name) is None or each not in (None, rest):
                problems += self._name_problems(name, place, columns, key=True)
        counts = Counter(found for name, _ in named if (found := columns.find(name)) is not None)
        twice = [found for found, count in counts.items() if count > 1]
        return problems + [Problem(f"{where}.{name}", "two values, under two names", "one value") for name in twice]

    def _name_problems(self, written: Any, where: str, columns: Columns, *, key: bool = False) -> list[Problem]:  # noqa: ANN401
        name = columns.find(written)
        allowed = f"a column of schema.json: {_listed(columns.names)}"
        if not isinstance(written, str) and (columns.find(str(written)) is not None or name is None):
            plain = json.dumps(written)  # true, null and 2024, as in YAML
            advice = f'{allowed}. Put a name in quotes: "{plain}"'
            return [Problem(where, f"{plain} without quotes", advice, columns.closest(plain))]
        if name is None:
            return [Problem(where, "an unknown column" if key else repr(written), allowed, columns.closest(written))]
        kind: Kind = "category" if name in columns.categories else "number"
        wanted = self._wanted_kind
        if wanted in (None, kind):
            return []
        got = f"a {kind} column" if key else f"{name}, a {kind} column"
        return [Problem(where, got, f"a {wanted} column: {_listed(columns.of(wanted)) or 'the data have none'}")]

    def _is_own_word(self, value: Any) -> bool:  # noqa: ANN401
        """Return whether a value is passed on unchanged."""
        return value is None or value in self.words or (self.counts and _is_count(value))

    @property
    def _wanted_kind(self) -> Kind | None:
        return "category" if self.form == "categories" else self.kind

    def _is_value(self, value: Any) -> bool:  # noqa: ANN401
        if self.value == "text":
            return isinstance(value, str)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        if self.value == "count":
            return _whole(value) is not None and value >= 2
        return value in (-1, 0, 1) if self.value == "direction" else self.value == "number" or value >= 0

    def _converted(self, value: Any, default: Any) -> Any:  # noqa: ANN401
        """Return the default for null; a whole number without a decimal point, which not every library takes."""
        if value is None:
            return default
        return int(value) if self.value in ("direction", "count") else value

    def _expected(self, columns: Columns) -> str:
        words = f", or {' or '.join(self.words)}" if self.words else ", or a number or a text such as 3x" * self.counts
        if self.form == "values":
            example = {"direction": "1", "count": "15", "text": "TEXT"}.get(self.value, "0.5")
            name = _example(columns.of(self.kind))
            return f"a map such as {{{name}: {example}}}, or a list in the order of schema.json{words}"
        name = _example(columns.of(self._wanted_kind))
        nested = self.form in ("groups", "terms")
        kind = f"a list of lists of columns, such as [[{name}]]" if nested else f"a list such as [{name}]"
        return kind + words


_VALUES = {
    "direction": "-1 (falling), 0 or 1 (rising)",
    "number": "a finite number",
    "weight": "a finite number of at least 0",
    "count": "a whole number of at least 2",
    "text": "a text in the library's syntax",
}


def _is_list(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_count(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value says how many terms there may be: 5, 0.5 per column, or 0.5x, which means the same."""
    if isinstance(value, str):
        return re.fullmatch(r"\d+(\.\d+)?x", value.strip().lower()) is not None
    if (whole := _whole(value)) is not None:
        return whole >= 0
    return isinstance(value, float) and 0 < value < 1


def _whole(value: object) -> int | None:
    """Return a whole number, also one written as 1.0; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if float(value).is_integer() else None


def _by_name(value: Mapping[Any, Any] | Sequence[Any], names: Sequence[str]) -> list[tuple[Any, Any]]:
    """Return the names and values of a map or a list; a number as a key is a name, which a saved config has as text."""
    if not isinstance(value, Mapping):
        return list(zip(names, value, strict=True))
    return [(name if isinstance(name, bool | None) else str(name), each) for name, each in value.items()]


def _positions(group: Iterable[str | int], columns: Columns, outputs: Sequence[Output]) -> list[int]:
    """Return the positions of the encoded columns that come from a group of columns."""
    sources = {columns.find(each) for each in group}
    return [position for position, output in enumerate(outputs) if output.source in sources]


def _terms(group: Iterable[str | int], columns: Columns, outputs: Sequence[Output]) -> Iterator[tuple[int, ...]]:
    """Yield the positions of one encoded column of each column in a group, in every combination."""
    return product(*(_positions([each], columns, outputs) for each in group))


def _in_yaml(group: Sequence[str | int]) -> str:
    return f"[{', '.join(map(str, group))}]"


def _example(names: Sequence[str]) -> str:
    return names[0] if names else "NAME"


def _listed(names: Sequence[str]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def _in_brackets(values: list[Any]) -> str:
    """Return CatBoost's text form: a list would break scikit-learn's ``clone``, as CatBoost copies it."""
    return f"({','.join(str(value) for value in values)})"


def _with_position(values: list[Any]) -> tuple[str, ...]:
    return tuple(f"{position}:{value}" for position, value in enumerate(values) if value is not None)


def _monotone(write: Callable[[list[Any]], Any] = list) -> ColumnParameter:
    return ColumnParameter("values", kind="number", value="direction", default=0, write=write)


def _weights(write: Callable[[list[Any]], Any] = list) -> ColumnParameter:
    return ColumnParameter("values", value="weight", default=1.0, write=write)


def _penalties(write: Callable[[list[Any]], Any] = list) -> ColumnParameter:
    return ColumnParameter("values", value="weight", default=0.0, write=write)


def _aliases(parameter: ColumnParameter, *names: str) -> dict[str, ColumnParameter]:
    return dict.fromkeys(names, parameter)


XGBOOST = {
    "monotone_constraints": _monotone(tuple),
    "interaction_constraints": ColumnParameter("groups", write=json.dumps),
    "feature_weights": _weights(),
    "feature_types": ColumnParameter("types"),
}
LIGHTGBM = {
    **_aliases(_monotone(), "monotone_constraints", "mc", "monotone_constraint", "monotonic_cst"),
    "interaction_constraints": ColumnParameter("groups"),
    **_aliases(_weights(), "feature_contri", "feature_contrib", "fc", "fp", "feature_penalty"),
    **_aliases(_penalties(), "cegb_penalty_feature_lazy", "cegb_penalty_feature_coupled"),
    "max_bin_by_feature": ColumnParameter(
        "values", kind="number", value="count", default=255, default_parameter="max_bin"
    ),
    **_aliases(
        ColumnParameter("categories"),
        *("categorical_feature", "cat_feature", "categorical_column", "cat_column", "categorical_features"),
    ),
}
CATBOOST = {
    "monotone_constraints": _monotone(_in_brackets),
    "feature_weights": _weights(_in_brackets),
    "first_feature_use_penalties": _penalties(_in_brackets),
    "per_object_feature_penalties": _penalties(_in_brackets),
    "per_float_feature_quantization": ColumnParameter("values", kind="number", value="text", write=_with_position),
    "per_feature_ctr": ColumnParameter("values", kind="category", value="text", write=_with_position),
    **_aliases(ColumnParameter("types"), "text_features", "embedding_features"),
    "ignored_features": ColumnParameter("columns", write=tuple),
    "cat_features": ColumnParameter("categories"),
}
EBM = {
    "monotone_constraints": _monotone(),
    "interactions": ColumnParameter("terms", counts=True),
    "exclude": ColumnParameter("terms", words=("mains",)),
    **_aliases(ColumnParameter("types"), "feature_types", "feature_names"),
}
HIST_GRADIENT_BOOSTING = {
    "monotonic_cst": _monotone(),
    "interaction_cst": ColumnParameter("groups", words=("pairwise", "no_interactions")),
    "categorical_features": ColumnParameter("categories", words=("from_dtype",)),
}
SCIKIT_LEARN_TREES = {"monotonic_cst": _monotone()}
# The names in all libraries: one that a library does not know is another library's name of a parameter.
EVERY_NAME = frozenset().union(XGBOOST, LIGHTGBM, CATBOOST, EBM, HIST_GRADIENT_BOOSTING, SCIKIT_LEARN_TREES)
