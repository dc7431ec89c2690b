"""`genai compare` puts runs and their evaluations side by side; only `pictures` imports torch."""
