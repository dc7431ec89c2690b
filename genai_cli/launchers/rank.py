"""`python -m genai_cli.launchers.rank`: what torchrun lines for version 0.1 name `runner.rank`."""

import sys
from pathlib import Path

from genai_cli.runner.rank import main

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
