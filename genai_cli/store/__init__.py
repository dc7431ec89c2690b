"""Run and sweep folders on disk: layout, reading, writing. Imports no torch."""
