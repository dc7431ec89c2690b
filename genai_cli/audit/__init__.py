"""Audit a model by class: shares of samples, errors and outcomes of reconstructions."""
