"""Draw the samples, interpolations and codes of `genai sample` and `genai encode`."""
