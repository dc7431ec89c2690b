"""Divergence: detect non-finite numbers, record the failing step, roll back."""
