"""The types that a saved model may hold besides those that skops trusts by itself (scikit-learn's public estimators).

Loading a model imports and fills in exactly these and nothing else, whatever its file asks for. To let another
type in, read what its ``__setstate__`` does with hostile input, then add its name below, sorted.
"""

from __future__ import annotations

STANDARD_LIBRARY = (
    "collections.OrderedDict",  # LightGBM's evaluation results
    "functools.partial",  # HistGradientBoosting's preprocessing of categories: partial of a trusted function
)
NUMPY = ("numpy.dtype",)
SCIKIT_LEARN = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",  # its node indices: see tree_guard.py
    "sklearn.model_selection._split.StratifiedKFold",  # TargetEncoder keeps the folds that it was fitted with
    "sklearn.tree._tree.Tree",  # node indices too
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
)
CATBOOST = ("catboost.core.CatBoostClassifier",)
LIGHTGBM = ("lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier")
XGBOOST = ("xgboost.callback.EarlyStopping", "xgboost.core.Booster", "xgboost.sklearn.XGBClassifier")
MLSYS = (
    "mlsys.pipeline.encoders.AsText",
    "mlsys.pipeline.encoders.FillEmpty",
    "mlsys.pipeline.encoders.NativeColumns",
    "mlsys.pipeline.encoders.SignedLog",
    "mlsys.pipeline.models.ActivityRanking",
)

TRUSTED_TYPES = (*STANDARD_LIBRARY, *NUMPY, *SCIKIT_LEARN, *CATBOOST, *LIGHTGBM, *XGBOOST, *MLSYS)
