"""Types trusted when loading a model, in addition to those that skops trusts (scikit-learn's public estimators).

Loading a model creates objects of these types only. To trust another type, first check what its ``__setstate__`` does
with malicious input, then add its name below, in alphabetical order.
"""

from __future__ import annotations

STANDARD_LIBRARY = (
    "collections.OrderedDict",  # LightGBM's evaluation results
    "functools.partial",  # HistGradientBoosting's preprocessing of categories; the function must be trusted too
)
NUMPY = ("numpy.dtype",)
SCIKIT_LEARN = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",  # tree_guard.py checks its node indices
    "sklearn.model_selection._split.StratifiedKFold",  # TargetEncoder keeps the splitter that it was fitted with
    "sklearn.tree._tree.Tree",  # as above
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
)
CATBOOST = ("catboost.core.CatBoostClassifier",)
INTERPRET = ("interpret.glassbox._ebm._ebm.ExplainableBoostingClassifier",)
LIGHTGBM = ("lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier")
XGBOOST = (
    "xgboost.callback.EarlyStopping",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",  # the same __setstate__ as XGBClassifier
)
MLSYS = (
    "mlsys.pipeline.models.ActivityRanking",
    "mlsys.pipeline.stacking.Stack",
    "mlsys.pipeline.survival.DiscreteTimeHazard",
    "mlsys.pipeline.transformers.AsText",
    "mlsys.pipeline.transformers.FillEmpty",
    "mlsys.pipeline.transformers.NativeColumns",
    "mlsys.pipeline.transformers.SignedLog",
    "mlsys.pipeline.uplift.UpliftModel",
)

TRUSTED_TYPES = (*STANDARD_LIBRARY, *NUMPY, *SCIKIT_LEARN, *CATBOOST, *INTERPRET, *LIGHTGBM, *XGBOOST, *MLSYS)
