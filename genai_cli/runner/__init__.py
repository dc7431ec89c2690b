"""The life of one run: prepare, run, end, resume."""
