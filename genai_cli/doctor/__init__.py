"""`genai doctor`: what the curves of a run show, in the lecture's words. No torch."""
