"""Parse the command line, print help and completions, and run the verbs."""
