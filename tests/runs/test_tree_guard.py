import io
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline

from mlsys.errors import RunError
from mlsys.runs.model_io import model_from_bytes
from mlsys.runs.tree_guard import check_trees

X = np.random.default_rng(0).normal(size=(100, 3))
Y = (X[:, 0] > 0).astype(int)
MODELS = {
    "forest": RandomForestClassifier(3, random_state=0),
    "gradient": GradientBoostingClassifier(n_estimators=3, random_state=0),
    "histogram": HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5),
}
FIELDS = {"left": ("left_child", "left"), "right": ("right_child", "right"), "feature": ("feature", "feature_idx")}


def manipulated(model: object, field: str, value: int) -> bytes:
    """Return the saved model with one index of each tree's root replaced."""
    buffer, source = io.BytesIO(), io.BytesIO(skops.io.dumps(model))
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".npy"):
                array = np.load(io.BytesIO(content), allow_pickle=False)
                for known in FIELDS[field]:
                    if known in (array.dtype.names or ()):
                        array[known][0] = value
                        out = io.BytesIO()
                        np.save(out, array)
                        content = out.getvalue()
            new.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("name", MODELS)
def test_valid_trees_pass(name):
    check_trees(Pipeline([("model", MODELS[name].fit(X, Y))]))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("field", "value"), [("left", 10**6), ("right", 10**6), ("left", 0), ("feature", 3), ("feature", 10**6)]
)
def test_indices_outside_the_tree_are_refused(name, field, value):
    data = manipulated(MODELS[name].fit(X, Y), field, value)
    with pytest.raises(RunError, match="refused: a node"):
        model_from_bytes(data, "m")


def test_splits_on_categories_outside_their_table_are_refused():
    category = np.random.default_rng(0).integers(0, 4, (200, 1)).astype(float)
    model = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5, categorical_features=[0])
    model.fit(category, (category[:, 0] % 2).astype(int))
    check_trees(model)
    model._predictors[0][0].nodes["bitset_idx"][0] = 99
    with pytest.raises(RunError, match="outside its table"):
        check_trees(model)


def test_an_ensemble_of_trees_with_different_inputs_is_refused():
    forest = RandomForestClassifier(3, random_state=0).fit(X, Y)
    forest.estimators_[1].n_features_in_ = 99
    with pytest.raises(RunError, match="different numbers of inputs"):
        check_trees(forest)
