"""Everything that is fitted: encoders, samplers, estimators, early stopping, calibration and the threshold."""
