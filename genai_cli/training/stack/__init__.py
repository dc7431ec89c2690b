"""Stacked training: several small models with the same architecture in one step."""
