"""The kinds of training step (eager, compiled, CUDA graph) and the choice between them."""
