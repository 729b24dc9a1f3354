"""One flat table with a target column: reads any file, infers column kinds and makes model inputs.

Examples
--------
>>> import pandas as pd
>>> from mlsys.data.table import apply, infer_recipe, labelled_rows, to_label
>>> raw = pd.DataFrame({"plan": ["free ", "pro", "free"], "spend": ["1,200", "-", "80 %"], "won": ["yes", "no", "yes"]})
>>> raw = labelled_rows(raw, "won")
>>> label, positive = to_label(raw["won"])
>>> recipe = infer_recipe(raw, target="won")
>>> apply(recipe, raw).to_dict("list"), label.tolist(), positive
({'plan': ['free', 'pro', 'free'], 'spend': [1200.0, nan, 0.8]}, [1, 0, 1], 'yes')
"""

from mlsys.data.table.dates import to_time
from mlsys.data.table.infer import infer_recipe, infer_types
from mlsys.data.table.label import labelled_rows, to_label
from mlsys.data.table.read import read_table
from mlsys.data.table.recipe import ColumnRecipe, ColumnReport, TableRecipe, apply
from mlsys.data.table.values import to_numbers
from mlsys.runs.recipe_file import ColumnKind

__all__ = [
    "ColumnKind",
    "ColumnRecipe",
    "ColumnReport",
    "TableRecipe",
    "apply",
    "infer_recipe",
    "infer_types",
    "labelled_rows",
    "read_table",
    "to_label",
    "to_numbers",
    "to_time",
]
