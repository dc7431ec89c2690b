"""Sources → `Dataset` (tensors on the device) → `Batch`. Start at `sources.load`."""
