"""A saved pipeline as plain values: what each object holds, without importing the library that it is from.

scikit-learn alone takes over a second and 150 MB to import. Fast paths need only what the fitted objects learned, which
pipeline.skops spells out. Nothing here imports or calls what a file names.
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
        Its attributes, by name.
    """

    kind: str
    state: dict[str, Any]

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        return self.state[name]

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return an attribute, or ``default`` where the object has none of the name."""
        return self.state.get(name, default)


@dataclass(frozen=True)
class Opaque:
    """Something that no fast path looks into: a type, a function, a random generator."""

    name: str


# The types in files whose models have a fast path. A file that names any other is left to skops, which knows what to
# refuse; see `mlsys.runs.trusted`.
EXPECTED = frozenset(
    {
        "catboost.core.CatBoostClassifier",
        "collections.OrderedDict",
        "collections.defaultdict",
        "functools.partial",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "mlsys.pipeline.encoders.AsText",
        "mlsys.pipeline.encoders.FillEmpty",
        "mlsys.pipeline.encoders.NativeColumns",
        "mlsys.pipeline.encoders.SignedLog",
        "mlsys.pipeline.models.ActivityRanking",
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
    }
    | {f"numpy.{kind}" for kind in ("bool", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64")}
    | {f"builtins.{kind}" for kind in ("bytearray", "bytes", "dict", "int", "list", "set", "slice", "str", "tuple")}
)


def read_skops(data: bytes, where: str) -> Node | None:
    """Return the outermost object of pipeline.skops; None if the file names a type that is not in `EXPECTED`.

    Parameters
    ----------
    data : bytes
        Its content.
    where : str
        Its path, for errors.

    Raises
    ------
    RunError
        If it is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            types: set[str] = set()
            schema = json.loads(archive.read(SCHEMA), object_hook=lambda node: _noted(node, types))
            part = _Reader(archive).value(schema)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, EOFError, RecursionError) as error:
        raise RunError(f"{where} cannot be read ({error!r}). It is damaged: train again.") from error
    if not isinstance(part, Node):
        raise RunError(f"{where} holds no pipeline: train again.")
    return part if types <= EXPECTED else None


class _Reader:
    """Turns nodes of the schema into values; an object that several nodes share is made once."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._made: dict[int, Any] = {}
        self._makers: dict[str, Callable[[dict[str, Any]], Any]] = {
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
        if number is not None and number in self._made:
            return self._made[number]
        make = self._makers.get(node["__loader__"])
        value = Opaque(f"{node['__module__']}.{node['__class__']}") if make is None else make(node)
        if number is not None:
            self._made[number] = value
        return value

    def _object(self, node: dict[str, Any]) -> Node:
        content = node.get("content")
        state = self.value(content) if isinstance(content, dict) else {}
        return Node(_kind(node), state if isinstance(state, dict) else {})

    def _reduced(self, node: dict[str, Any]) -> Node:
        """Return an object that pickle would rebuild by calling its class: scikit-learn's Tree."""
        return Node(_kind(node), self.value(node["content"]))

    def _array(self, node: dict[str, Any]) -> Any:  # noqa: ANN401
        if node["type"] == "json":
            items = [self.value(item) for item in node["content"]]
            values = np.empty(len(items), dtype=object)
            values[:] = items
            return values.reshape(self.value(node["shape"]))
        array = np.load(io.BytesIO(self._archive.read(node["file"])), allow_pickle=False)
        return array if node["__class__"] == "ndarray" else array.item()


def _noted(node: dict[str, Any], types: set[str]) -> dict[str, Any]:
    """Note the type that a node of the schema names."""
    if "__class__" in node:
        types.add(f"{node['__module__']}.{node['__class__']}")
    return node


def _kind(node: dict[str, Any]) -> str:
    return f"{node['__module__'].partition('.')[0]}.{node['__class__']}"
