"""Read and write run and sweep folders. Imports no torch."""
