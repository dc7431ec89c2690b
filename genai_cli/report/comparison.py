"""The tables and the verdict of `genai compare`, as markup."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from genai_cli.report.markup import Html


class Told(NamedTuple):
    """What the comparison says."""

    tables: Html
    verdict: Html


def told(folder: Path) -> Told:
    return Told(Html(""), Html(""))
