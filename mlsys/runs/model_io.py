"""Save and load the fitted pipeline with skops: no pickle, only trusted types, equal bytes for equal models."""

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
# Modules whose version a saved model depends on, and the package of each.
LIBRARIES = {
    "catboost": "catboost",
    "interpret": "interpret-core",
    "lightgbm": "lightgbm",
    "sklearn": "scikit-learn",
    "xgboost": "xgboost",
}


class Classifier(Protocol):
    """Interface of a fitted pipeline."""

    def predict_proba(self, X: pd.DataFrame) -> ArrayLike:
        """Return the probability of each class, shape (n, 2), the positive class last."""


def save_model(pipeline: object, folder: Path) -> Path:
    """Save a fitted pipeline as ``model/pipeline.skops``.

    Parameters
    ----------
    pipeline : object
        Fitted scikit-learn Pipeline without its sampler, which serving does not need.
    folder : Path
        Run directory.

    Returns
    -------
    Path
        Path of the file.

    Raises
    ------
    RunError
        If the pipeline has a type that is not trusted, or the file cannot be written.
    """
    path = folder / MODEL_FILE
    data = model_bytes(pipeline)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise RunError(f"Could not write {path}: {error.strerror or error}. Fix the cause and run again.") from error
    return path


def load_model(folder: Path) -> Classifier:
    """Load the pipeline of a run directory without checking its digest, unlike `Run.model`.

    Raises
    ------
    RunError
        If the file is missing or damaged, or has a type that is not in `TRUSTED_TYPES`.
    """
    path = folder / MODEL_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}. Train again.") from error
    return model_from_bytes(data, str(path))


def model_bytes(pipeline: object) -> bytes:
    """Return the content of pipeline.skops; see `save_model`."""
    _clear_catboost_metadata(pipeline)
    data = canonical(_dump(pipeline))
    if untrusted := _untrusted(data):
        raise RunError(
            f"The pipeline has types that are not trusted when loading: {', '.join(untrusted)}. "
            "Remove samplers from it; if a type is needed, add it to mlsys/runs/trusted.py."
        )
    return data


def untrusted_types(part: object) -> list[str]:
    """Return the types in a step of a pipeline that are not trusted when loading, sorted.

    Parameters
    ----------
    part : object
        Fitted or not; only its current content is checked.

    Raises
    ------
    RunError
        If the step cannot be saved.

    Examples
    --------
    >>> from fractions import Fraction
    >>> untrusted_types({"half": Fraction(1, 2)})
    ['fractions.Fraction']
    """
    return _untrusted(_dump(part))


def model_from_bytes(data: bytes, where: str) -> Classifier:
    """Load a pipeline from the content of pipeline.skops.

    Parameters
    ----------
    data : bytes
        Content of the file.
    where : str
        Path shown in errors.

    Raises
    ------
    RunError
        If the file is damaged, needs a library that is not installed, or has a type that is not in `TRUSTED_TYPES`.
    """
    import skops.io  # imports all of scikit-learn, which takes a second
    from skops.io.exceptions import UntrustedTypesFoundException

    from mlsys.runs.ebm_terms import check_ebms  # these two need NumPy
    from mlsys.runs.tree_guard import check_trees

    try:
        model: Classifier = skops.io.loads(data, trusted=TRUSTED_TYPES)
    except UntrustedTypesFoundException as error:
        raise RunError(
            f"{where} has types that are not trusted: {', '.join(_untrusted(data))}. If you trust its author and need "
            "them, add them to mlsys/runs/trusted.py."
        ) from error
    except ModuleNotFoundError as error:
        raise RunError(f"{where} needs {error.name}, which is not installed: install it.") from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, ImportError, EOFError) as error:
        raise RunError(
            f"{where} cannot be loaded: {error}. It is damaged or was saved with other versions: train again."
        ) from error
    check_trees(model)
    check_ebms(model)
    return model


def libraries(data: bytes) -> tuple[str, ...]:
    """Return the packages whose types pipeline.skops uses, sorted.

    Parameters
    ----------
    data : bytes
        Content of pipeline.skops.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            roots = set(re.findall(r'"__module__":\s*"(\w+)', archive.read(SCHEMA).decode()))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise RunError(f"{MODEL_FILE} is not a skops file ({error}): train again.") from error
    return tuple(sorted(LIBRARIES[root] for root in roots & LIBRARIES.keys()))


def _dump(part: object) -> bytes:
    import skops.io  # imports all of scikit-learn, which takes a second

    try:
        data: bytes = skops.io.dumps(part)
    except (TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"The pipeline cannot be saved: {error}. Its steps may only have numbers, text, lists, mappings, NumPy "
            "arrays and scikit-learn estimators as attributes (no lambdas, local functions or open files)."
        ) from error
    return data


def _untrusted(data: bytes) -> list[str]:
    """Return the types in pipeline.skops that are not trusted, sorted."""
    import skops.io  # imported late, as above

    return sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED_TYPES))


def _clear_catboost_metadata(pipeline: object) -> None:
    """Clear the training time and random id of CatBoost models, so that equal fits have equal bytes."""
    catboost = sys.modules.get("catboost")  # imported already if the pipeline has a CatBoost model
    if catboost is None:
        return
    for part in walk_objects(pipeline):
        if isinstance(part, catboost.CatBoost) and part.is_fitted():
            metadata = part.get_metadata()
            metadata["train_finish_time"] = metadata["model_guid"] = ""
