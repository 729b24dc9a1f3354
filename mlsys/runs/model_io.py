"""The fitted pipeline on disk, as skops: no pickle, a fixed list of types, equal bytes for equal models."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mlsys.errors import RunError
from mlsys.runs.canonical import SCHEMA, canonical
from mlsys.runs.files import write_atomic
from mlsys.runs.object_graph import walk_objects
from mlsys.runs.trusted import TRUSTED_TYPES

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

MODEL_FILE = "model/pipeline.skops"
# The libraries whose version a saved model depends on, and the package that each comes from.
LIBRARIES = {"catboost": "catboost", "lightgbm": "lightgbm", "sklearn": "scikit-learn", "xgboost": "xgboost"}


class Classifier(Protocol):
    """What is asked of a fitted pipeline."""

    def predict_proba(self, X: pd.DataFrame) -> ArrayLike:
        """Return the probability of each class, shape (n, 2), the positive one last."""


def save_model(pipeline: object, folder: Path) -> Path:
    """Save a fitted pipeline as ``model/pipeline.skops``.

    Parameters
    ----------
    pipeline : object
        A fitted scikit-learn Pipeline without its sampler, which serving does not need.
    folder : Path
        The run directory.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RunError
        If it holds a type that the reader would refuse, or cannot be written.
    """
    path = folder / MODEL_FILE
    data = model_bytes(pipeline)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise RunError(f"Could not write {path}: {error.strerror or error}. Mend the cause and run again.") from error
    return path


def load_model(folder: Path) -> Classifier:
    """Load the pipeline of a run directory without checking its digest, as `Run.model` does.

    Raises
    ------
    RunError
        If the file is missing or damaged, or holds a type that is not in `TRUSTED_TYPES`.
    """
    path = folder / MODEL_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}. Train again.") from error
    return model_from_bytes(data, str(path))


def model_bytes(pipeline: object) -> bytes:
    """Return the content of pipeline.skops; see `save_model`."""
    _forget_training_moment(pipeline)
    data = canonical(_dumped(pipeline))
    if refused := _refused(data):
        raise RunError(
            f"The pipeline holds types that loading would refuse: {', '.join(refused)}. "
            "Leave samplers out of it; if a type must stay, add it to mlsys/runs/trusted.py."
        )
    return data


def untrusted_types(part: object) -> list[str]:
    """Return the types in a step of a pipeline that loading would refuse, sorted.

    Parameters
    ----------
    part : object
        Fitted or not; only what it holds now is looked at.

    Raises
    ------
    RunError
        If it cannot be saved at all.

    Examples
    --------
    >>> from fractions import Fraction
    >>> untrusted_types({"half": Fraction(1, 2)})
    ['fractions.Fraction']
    """
    return _refused(_dumped(part))


def model_from_bytes(data: bytes, where: str) -> Classifier:
    """Return the pipeline that pipeline.skops holds.

    Parameters
    ----------
    data : bytes
        Its content.
    where : str
        Its path, for errors.

    Raises
    ------
    RunError
        If it is damaged, needs a library that is not installed, or holds a type that is not in `TRUSTED_TYPES`.
    """
    import skops.io  # it imports all of scikit-learn, which takes a second
    from skops.io.exceptions import UntrustedTypesFoundException

    from mlsys.runs.tree_guard import check_trees  # it needs NumPy

    try:
        model: Classifier = skops.io.loads(data, trusted=TRUSTED_TYPES)
    except UntrustedTypesFoundException as error:
        raise RunError(
            f"{where} is refused: it asks for the types {', '.join(_refused(data))}, which mlsys does not load. "
            "If you know its author and need them, add them to mlsys/runs/trusted.py."
        ) from error
    except ModuleNotFoundError as error:
        raise RunError(f"{where} needs the library {error.name}, which is not installed: install it.") from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, ImportError, EOFError) as error:
        raise RunError(
            f"{where} cannot be loaded: {error}. It is damaged or of other versions: train again."
        ) from error
    check_trees(model)
    return model


def libraries(data: bytes) -> tuple[str, ...]:
    """Return the packages whose types pipeline.skops names, sorted.

    Parameters
    ----------
    data : bytes
        Its content.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            roots = set(re.findall(r'"__module__":\s*"(\w+)', archive.read(SCHEMA).decode()))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise RunError(f"{MODEL_FILE} is no skops file ({error}): train again.") from error
    return tuple(sorted(LIBRARIES[root] for root in roots & LIBRARIES.keys()))


def _dumped(part: object) -> bytes:
    import skops.io  # it imports all of scikit-learn, which takes a second

    try:
        data: bytes = skops.io.dumps(part)
    except (TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"The pipeline cannot be saved: {error}. Let its steps keep only numbers, text, lists, mappings, NumPy "
            "arrays and scikit-learn estimators (no functions defined on the spot, no open files)."
        ) from error
    return data


def _refused(data: bytes) -> list[str]:
    """Return the types in pipeline.skops that are not trusted, sorted."""
    import skops.io  # as above

    return sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED_TYPES))


def _forget_training_moment(pipeline: object) -> None:
    """Empty the clock time and the random id in each CatBoost model: two equal fits must have equal bytes."""
    catboost = sys.modules.get("catboost")  # a pipeline that holds a CatBoost model has imported it
    if catboost is None:
        return
    for part in walk_objects(pipeline):
        if isinstance(part, catboost.CatBoost) and part.is_fitted():
            metadata = part.get_metadata()
            metadata["train_finish_time"] = metadata["model_guid"] = ""
