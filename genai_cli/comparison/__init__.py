"""`genai compare`: what runs and evaluations say side by side. Only `pictures` imports torch."""
