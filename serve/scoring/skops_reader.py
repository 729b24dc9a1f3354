"""Reads a saved pipeline as plain values, without importing the libraries that its objects come from.

Importing scikit-learn alone takes over a second and 150 MB. Fast paths need only the fitted attributes, which
pipeline.skops contains as data. Nothing here imports or calls anything that a file names.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsys.errors import RunError

SCHEMA = "schema.json"


@dataclass(frozen=True)
class Node:
    """An object of a saved pipeline.

    Attributes
    ----------
    kind : str
        Library and class, such as ``sklearn.StandardScaler``.
    state : dict
        The object's attributes, by name.
    """

    kind: str
    state: dict[str, Any]

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        return self.state[name]

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return an attribute, or ``default`` if the object does not have it."""
        return self.state.get(name, default)


@dataclass(frozen=True)
class Opaque:
    """An object that no fast path needs: a type, a function, a random generator."""

    name: str


# The types in files of models that have a fast path. Files with any other type are left to skops, which refuses
# untrusted types; see `mlsys.runs.trusted`.
EXPECTED = frozenset(
    {
        "catboost.core.CatBoostClassifier",
        "collections.OrderedDict",
        "collections.defaultdict",
        "functools.partial",
        "interpret.glassbox._ebm._ebm.ExplainableBoostingClassifier",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "mlsys.pipeline.transformers.AsText",
        "mlsys.pipeline.transformers.FillEmpty",
        "mlsys.pipeline.transformers.NativeColumns",
        "mlsys.pipeline.transformers.SignedLog",
        "mlsys.pipeline.models.ActivityRanking",
        "mlsys.pipeline.stacking.Stack",
        "mlsys.pipeline.survival.DiscreteTimeHazard",
        "mlsys.pipeline.uplift.UpliftModel",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.random._generator.Generator",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.dummy.DummyClassifier",
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.ensemble._voting.VotingClassifier",
        "sklearn.frozen._frozen.FrozenEstimator",
        "sklearn.impute._base.MissingIndicator",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.linear_model._ridge.Ridge",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._encoders.OneHotEncoder",
        "sklearn.preprocessing._encoders.OrdinalEncoder",
        "sklearn.preprocessing._function_transformer.FunctionTransformer",
        "sklearn.preprocessing._label.LabelBinarizer",
        "sklearn.preprocessing._label.LabelEncoder",
        "sklearn.preprocessing._target_encoder.TargetEncoder",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils.validation.check_array",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRegressor",
    }
    | {f"numpy.{kind}" for kind in ("bool", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64")}
    | {f"builtins.{kind}" for kind in ("bytearray", "bytes", "dict", "int", "list", "set", "slice", "str", "tuple")}
)


def read_skops(data: bytes, where: str) -> Node | None:
    """Return the root object of pipeline.skops; None if the file contains a type that is not in `EXPECTED`.

    Parameters
    ----------
    data : bytes
        Content of the file.
    where : str
        Path of the file, for error messages.

    Raises
    ------
    RunError
        If the file is corrupt.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            types: set[str] = set()
            schema = json.loads(archive.read(SCHEMA), object_hook=lambda node: _record_type(node, types))
            root = _Reader(archive).value(schema)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, EOFError, RecursionError) as error:
        raise RunError(f"Cannot read {where} ({error!r}). It is corrupt: train again.") from error
    if not isinstance(root, Node):
        raise RunError(f"{where} does not contain a pipeline: train again.")
    return root if types <= EXPECTED else None


class _Reader:
    """Builds values from the nodes of the schema; an object that several nodes share is built once."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._built: dict[int, Any] = {}
        self._builders: dict[str, Callable[[dict[str, Any]], Any]] = {
            "JsonNode": lambda node: json.loads(node["content"]),
            "ListNode": lambda node: [self.value(item) for item in node["content"]],
            "TupleNode": lambda node: tuple(self.value(item) for item in node["content"]),
            "SetNode": lambda node: [self.value(item) for item in node["content"]],
            "DefaultDictNode": lambda node: self.value(node["content"]["main"]),
            "DictNode": lambda node: {key: self.value(item) for key, item in node["content"].items()},
            "BytesNode": lambda node: self._archive.read(node["file"]),
            "BytearrayNode": lambda node: self._archive.read(node["file"]),
            "NdArrayNode": self._array,
            "ObjectNode": self._object,
            "TreeNode": self._reduced,
        }

    def value(self, node: dict[str, Any]) -> Any:  # noqa: ANN401
        number = node.get("__id__")
        if number is not None and number in self._built:
            return self._built[number]
        build = self._builders.get(node["__loader__"])
        value = Opaque(f"{node['__module__']}.{node['__class__']}") if build is None else build(node)
        if number is not None:
            self._built[number] = value
        return value

    def _object(self, node: dict[str, Any]) -> Node:
        content = node.get("content")
        state = self.value(content) if isinstance(content, dict) else {}
        return Node(_kind(node), state if isinstance(state, dict) else {})

    def _reduced(self, node: dict[str, Any]) -> Node:
        """Return an object that pickle would rebuild by a call of its class, as it does scikit-learn's Tree."""
        return Node(_kind(node), self.value(node["content"]))

    def _array(self, node: dict[str, Any]) -> Any:  # noqa: ANN401
        if node["type"] == "json":
            items = [self.value(item) for item in node["content"]]
            values = np.empty(len(items), dtype=object)
            values[:] = items
            return values.reshape(self.value(node["shape"]))
        array = np.load(io.BytesIO(self._archive.read(node["file"])), allow_pickle=False)
        return array if node["__class__"] == "ndarray" else array.item()


def _record_type(node: dict[str, Any], types: set[str]) -> dict[str, Any]:
    """Add the type that a node of the schema names to ``types``, and return the node."""
    if "__class__" in node:
        types.add(f"{node['__module__']}.{node['__class__']}")
    return node


def _kind(node: dict[str, Any]) -> str:
    return f"{node['__module__'].partition('.')[0]}.{node['__class__']}"
