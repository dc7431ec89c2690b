"""What `genai sample` draws, and the folder it is written to."""
