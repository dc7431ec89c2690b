"""`genai doctor` diagnoses a run from its curves; it imports no torch."""
