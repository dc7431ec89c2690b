"""One self-contained HTML page about a run or a sweep: no network, no script, no torch."""
