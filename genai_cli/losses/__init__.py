"""Losses as pure functions, one value an example."""
