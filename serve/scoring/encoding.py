"""A fitted encoder as lookup tables: turns checked values into a model's input columns, without pandas.

Every encoder of `mlsys.pipeline.encoders` does the same few steps: impute numbers, add missing-value indicators, scale
the numbers, and look up categories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlsys.errors import RunError
from mlsys.runs.levels import MISSING, RARE, UNKNOWN
from serve.scoring.fields import Categories, Inputs, Numbers, RecordBlock
from serve.scoring.skops_reader import Node
from serve.scoring.text_columns import TextColumn

Cell: TypeAlias = tuple[int, float]  # output column and value
Floats: TypeAlias = NDArray[np.float64]


class Scale(NamedTuple):
    """Scaling of numbers and flags: whether the signed logarithm of each is taken, then its mean and deviation."""

    logged: NDArray[np.bool_]
    mean: Floats
    deviation: Floats


@dataclass(frozen=True)
class Lookup:
    """How one category column is encoded.

    Attributes
    ----------
    position : int
        Position of the column among the checked categories.
    cells : mapping of str or None to Cell
        Output for each value that training saw, and for null.
    unknown : Cell
        Output for any other value.
    """

    position: int
    cells: Mapping[str | None, Cell]
    unknown: Cell


class Encoding:
    """Encodes checked values as rows of floats.

    Parameters
    ----------
    positions : sequence of int
        Positions among the checked numbers, in the order of the encoder's columns.
    fill : ndarray of float64, shape (n_numbers,)
        Value imputed for a missing number; NaN to keep it missing.
    flags : sequence of int
        Columns, as indices into ``positions``, that have a missing-value indicator.
    scale : Scale or None
        Scaling of numbers and flags; None to leave them as they are.
    lookups : sequence of Lookup
    sources : sequence of str
        Name of the input that each output column was made from.
    available : int
        Number of the checked numbers, of which the encoder may read only some.
    """

    def __init__(
        self,
        positions: Sequence[int],
        fill: Floats,
        flags: Sequence[int],
        scale: Scale | None,
        lookups: Sequence[Lookup],
        sources: Sequence[str],
        available: int,
    ) -> None:
        self.sources = tuple(sources)
        self.width = len(sources)
        self._order = list(positions)
        self._in_order = list(positions) == list(range(available))
        self._fill = fill
        self._filled = [(i, float(fill[i])) for i in np.flatnonzero(~np.isnan(fill)).tolist()]
        self._flags = list(flags)
        self._scale = scale
        self._lookups = [(each.position, each.cells, each.unknown) for each in lookups]
        self._tables = [_Table(each) for each in lookups]
        self._zeros = [0.0] * (self.width - len(self._order) - len(self._flags))

    def row(self, numbers: Numbers, categories: Categories) -> list[float]:
        """Return the encoded values of one record."""
        values = list(numbers) if self._in_order else [numbers[position] for position in self._order]
        flags = [float(values[i] != values[i]) for i in self._flags]  # only NaN differs from itself
        for i, value in self._filled:
            if values[i] != values[i]:
                values[i] = value
        values += flags
        if self._scale is not None:
            values = self._scaled(np.array(values, dtype=np.float64)).tolist()
        values += self._zeros
        for position, cells, unknown in self._lookups:
            column, value = cells.get(categories[position], unknown)
            values[column] = value
        return values

    def reads(self, position: int) -> bool:
        """Return whether the encoder reads the category at ``position``."""
        return any(own == position for own, _, _ in self._lookups)

    def cell(self, position: int, text: str | None) -> Cell:
        """Return the output column and value for a value of the category at ``position``."""
        for own, cells, unknown in self._lookups:
            if own == position:
                return cells.get(text, unknown)
        raise KeyError(position)

    def rows(self, block: RecordBlock, dtype: type[np.floating[Any]]) -> NDArray[Any]:
        """Return the encoded values of several records, shape (n_rows, width)."""
        out = np.zeros((len(block), self.width), dtype=dtype)
        numbers = block.numbers if self._in_order else block.numbers[:, self._order]
        flags = np.isnan(numbers[:, self._flags])
        if self._filled:
            numbers = np.where(np.isnan(numbers), self._fill, numbers)
        if self._flags or self._scale is not None:
            numbers = np.hstack([numbers, flags])
        if self._scale is not None:
            numbers = self._scaled(numbers)
        with np.errstate(over="ignore"):  # as in training, a number beyond float32 is infinite to a float32 model
            out[:, : numbers.shape[1]] = numbers
        every_row = np.arange(len(block))
        for table in self._tables:
            table.write(block.categories[table.position], out, every_row)
        return out

    def _scaled(self, values: Floats) -> Floats:
        assert self._scale is not None
        logged, mean, deviation = self._scale
        values = np.where(logged, np.sign(values) * np.log1p(np.abs(values)), values)
        return np.asarray((values - mean) / deviation)


class _Table:
    """A `Lookup` for whole columns."""

    def __init__(self, lookup: Lookup) -> None:
        self.position = lookup.position
        cells = [*lookup.cells.values(), lookup.unknown]
        self._codes = {text: code for code, text in enumerate(lookup.cells)}
        self._unknown = len(lookup.cells)
        self._columns = np.array([column for column, _ in cells], dtype=np.intp)
        self._values = np.array([value for _, value in cells])

    def write(self, texts: TextColumn, out: NDArray[Any], rows: NDArray[np.intp]) -> None:
        codes = texts.map(lambda text: self._codes.get(text, self._unknown), np.intp)
        out[rows, self._columns[codes]] = self._values[codes]


def encoding_of(encoder: Node, inputs: Inputs) -> Encoding | None:
    """Return a fitted encoder as lookup tables; None for a kind that mlsys does not make.

    Parameters
    ----------
    encoder : Node
        A saved encoder of `mlsys.pipeline.encoders`.
    inputs : Inputs

    Raises
    ------
    RunError
        If its inputs are not in the schema.
    """
    try:
        if encoder.kind == "mlsys.NativeColumns":
            return _native(encoder, inputs)
        return _columns(encoder, inputs) if encoder.kind == "sklearn.ColumnTransformer" else None
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise RunError(f"The saved encoder was not made by this version of mlsys ({error!r}): train again.") from error


def known_levels(pipeline: Node) -> dict[str, frozenset[str]]:
    """Return all values of each category column that a saved pipeline's encoder was fitted on.

    For a model made of others, those of all its members: some saw more rows than others.
    """
    steps = dict(pipeline["steps"])
    if steps["model"].kind == "mlsys.DiscreteTimeHazard":
        return known_levels(steps["model"]["hazard_"])
    if steps["model"].kind == "mlsys.UpliftModel":
        return _union(steps["model"]["arms_"])
    if "encoder" not in steps and steps["model"].get("estimators_"):
        frozen = [member for member in steps["model"]["estimators_"] if isinstance(member, Node)]
        return _union([member["estimator"] for member in frozen if member.kind == "sklearn.FrozenEstimator"])
    encoder = steps.get("encoder")
    if encoder is None:
        return {}
    if encoder.kind == "mlsys.NativeColumns":
        return {
            name: frozenset(encoder["levels_"][name]) | {*encoder["rare_"][name]} for name in encoder["categories_"]
        }
    (_, step, names) = encoder["transformers_"][1]
    levels = dict(step["steps"])["levels"]["categories_"] if names else []
    return {name: frozenset(texts.tolist()) - {MISSING} for name, texts in zip(names, levels, strict=True)}


def _union(pipelines: Sequence[Node]) -> dict[str, frozenset[str]]:
    levels: dict[str, frozenset[str]] = {}
    for pipeline in pipelines:
        for name, texts in known_levels(pipeline).items():
            levels[name] = levels.get(name, frozenset()) | texts
    return levels


def native_labels(encoder: Node) -> dict[str, tuple[dict[str | None, str | None], str | None]]:
    """Return, for each column of a NativeColumns, the labels of known values and the label of any other value."""
    labels = {}
    for name in encoder["categories_"]:
        missing, unknown = (MISSING, UNKNOWN) if encoder["name_missing"] else (None, None)
        known: dict[str | None, str | None] = dict.fromkeys(encoder["rare_"][name], RARE)
        known |= {level: level for level in encoder["levels_"][name]}
        known[None] = missing
        labels[name] = (known, unknown)
    return labels


def native_codes(encoder: Node, name: str) -> dict[str, int]:
    """Return the code of each label of a NativeColumns column."""
    order = [*encoder["levels_"][name], RARE, *([MISSING, UNKNOWN] if encoder["name_missing"] else [])]
    return {label: code for code, label in enumerate(order)}


def positions_of(names: Sequence[str], inputs: Inputs, *, numbers: bool) -> list[int]:
    """Return the positions of an encoder's columns among the checked numbers or categories."""
    present = [field.name for field in (inputs.numbers if numbers else inputs.categories)]
    return [present.index(name) for name in names]


def scale_of(steps: Mapping[str, Node]) -> Scale | None:
    """Return the fitted SignedLog and the StandardScaler that follows it, if there are any."""
    scaler = steps.get("scale")
    return None if scaler is None else Scale(steps["log"]["logged_"], scaler["mean_"], scaler["scale_"])


def _native(encoder: Node, inputs: Inputs) -> Encoding:
    numbers, categories = encoder["numbers_"], encoder["categories_"]
    lookups = []
    for offset, name in enumerate(categories):
        labels, other = native_labels(encoder)[name]
        codes: dict[str | None, float] = {None: nan}
        codes.update(native_codes(encoder, name))
        column = len(numbers) + offset
        cells = {text: (column, codes[label]) for text, label in labels.items()}
        (position,) = positions_of([name], inputs, numbers=False)
        lookups.append(Lookup(position, cells, (column, codes[other])))
    scaler = encoder.get("scale_")
    scale = None if scaler is None else scale_of(dict(scaler["steps"]))
    positions = positions_of(numbers, inputs, numbers=True)
    return Encoding(positions, encoder["fill_"], [], scale, lookups, [*numbers, *categories], len(inputs.numbers))


def _columns(encoder: Node, inputs: Inputs) -> Encoding:
    (_, number_steps, numbers), (_, category_steps, categories) = encoder["transformers_"][:2]
    fill, flags, scale = np.empty(0), [], None
    if numbers:
        steps = dict(number_steps["steps"])
        fill, scale = steps["empty"]["fill_"], scale_of(steps)
        if "impute" in steps:
            fill = steps["impute"]["statistics_"].astype(np.float64)
            flags = steps["impute"]["indicator_"]["features_"].tolist()
    sources = [*numbers, *(numbers[i] for i in flags)]
    lookups: list[Lookup] = []
    if categories:
        levels = dict(category_steps["steps"])["levels"]
        for index, position in enumerate(positions_of(categories, inputs, numbers=False)):
            cells, unknown, width = _LEVELS[levels.kind](levels, index, len(sources))
            if MISSING in cells:  # the imputer in front replaces null by this
                cells[None] = cells[MISSING]
            lookups.append(Lookup(position, cells, unknown))
            sources += [categories[index]] * width
    positions = positions_of(numbers, inputs, numbers=True)
    return Encoding(positions, fill, flags, scale, lookups, sources, len(inputs.numbers))


Levels: TypeAlias = tuple[dict[str | None, Cell], Cell, int]


def _one_hot(levels: Node, index: int, start: int) -> Levels:
    codes = _codes(levels, index)
    return {text: (start + code, 1.0) for text, code in codes.items()}, (start, 0.0), max(codes.values()) + 1


def _ordinal(levels: Node, index: int, start: int) -> Levels:
    codes = _codes(levels, index)
    return {text: (start, float(code)) for text, code in codes.items()}, (start, float(levels["unknown_value"])), 1


def _target(levels: Node, index: int, start: int) -> Levels:
    texts, rates = levels["categories_"][index].tolist(), levels["encodings_"][index].tolist()
    cells: dict[str | None, Cell] = {text: (start, rate) for text, rate in zip(texts, rates, strict=True)}
    return cells, (start, float(levels["target_mean_"])), 1


def _codes(levels: Node, index: int) -> dict[str | None, int]:
    """Return the code of each level; the levels that were rare in training share one code."""
    texts = levels["categories_"][index].tolist()
    grouped = levels["_default_to_infrequent_mappings"][index] if levels["_infrequent_enabled"] else None
    return dict(zip(texts, range(len(texts)) if grouped is None else grouped.tolist(), strict=True))


_LEVELS = {
    "sklearn.OneHotEncoder": _one_hot,
    "sklearn.OrdinalEncoder": _ordinal,
    "sklearn.TargetEncoder": _target,
}
