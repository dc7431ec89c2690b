"""`python -m genai_cli` is `genai`."""

import sys

from genai_cli.cli import main

sys.exit(main())
