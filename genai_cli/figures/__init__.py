from genai_cli.system.library_messages import take_over_logging

take_over_logging()  # before matplotlib says that it looks for fonts
