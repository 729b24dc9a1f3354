"""Settings of the promotion gate."""

import pytest
import yaml

from mlsys.errors import ConfigError
from mlsys.launch import conf_folder
from mlsys.registry.settings import read_settings


def test_the_shipped_file_sets_every_key(tmp_path):
    shipped = yaml.safe_load((conf_folder() / "gate.yaml").read_text())
    assert read_settings(tmp_path, {"metric": None}).model_dump() == shipped


def test_the_registrys_own_file_replaces_it_and_flags_override_both(tmp_path):
    values = yaml.safe_load((conf_folder() / "gate.yaml").read_text()) | {"metric": "recall@50", "margin": 0.1}
    (tmp_path / "gate.yaml").write_text(yaml.safe_dump(values))
    found = read_settings(tmp_path, {"margin": 0.2})
    assert (found.metric, found.margin, found.top_k) == ("recall@50", 0.2, [50])


def test_all_problems_are_reported_at_once(tmp_path):
    (tmp_path / "gate.yaml").write_text("metric: rocauc\nmarign: 1\naudit: fine\n")
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path, {"margin": -1.0})
    text = str(caught.value)
    assert "closest: roc_auc" in text
    assert "--margin\n      got:     -1.0" in text
    assert "marign\n      got:     an unknown key" in text
    assert "closest: margin" in text
    assert "bootstrap_resamples\n      got:     nothing" in text


@pytest.mark.parametrize("metric", ["precision@0", "precision", "roc_auc@5", "predict_ms", "lift@1.5"])
def test_unknown_metrics(metric):
    with pytest.raises(ConfigError, match="roc_auc, average_precision"):
        read_settings(None, {"metric": metric})
