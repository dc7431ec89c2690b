"""`genai report RUN | SWEEP | LECTURE` writes one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path

from genai_cli.cli.arguments import ReportRequest, parse_arguments
from genai_cli.errors import UserError
from genai_cli.store import lookup, run_folder
from genai_cli.store import outputs as output_folders
from genai_cli.system import atomic_write

ENDINGS = (".html", ".htm")
FILE = "report.html"


def main(args: list[str]) -> int:
    """Write the page of a run, a sweep or a lecture; 0 done, 2 a mistake."""
    (name,), request, _ = parse_arguments(args, "report", ReportRequest)
    folder = find(name, request.outputs)
    target = Path(request.out) if request.out else folder / FILE
    if target.suffix.lower() not in ENDINGS or target.is_dir():
        raise UserError(f"out={target} is no HTML file; give a name that ends in .html")

    if output_folders.is_lecture(folder):
        from genai_cli.report.lecture_page import lecture_page

        text = lecture_page(folder)
    elif run_folder.is_sweep(folder):
        from genai_cli.report.sweep_page import sweep_page

        if not request.no_figures:
            plot_comparison(folder)
        text = sweep_page(folder)
    else:
        from genai_cli.report.run_page import run_page

        text = run_page(folder)
    try:
        atomic_write.write_text(target, text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {target}: {reason}; set out=FILE.html") from None
    print(f"report  {target} ({len(text.encode()) / 1e6:.1f} MB, whole in itself)")
    return 0


def plot_comparison(sweep: Path) -> None:
    """Draw the figures of the comparison where they are missing or out of date.

    They load every model, which takes seconds; a page without them is better than none.
    """
    from genai_cli.comparison.read import newest_number
    from genai_cli.report.sweep_page import FOLDER

    cells = run_folder.cells(sweep)
    newest = max(map(newest_number, cells), default=0.0)
    drawn = [f.stat().st_mtime for f in (sweep / FOLDER).glob("*.png")]
    if not newest or (drawn and min(drawn) >= newest):
        return
    print("drawing the figures of the comparison (--no-figures leaves them out) …", flush=True)
    from genai_cli.comparison import pictures
    from genai_cli.comparison.table import compare

    try:
        (sweep / FOLDER).mkdir(exist_ok=True)
        pictures.draw(sweep / FOLDER, compare(cells), True)
    except (UserError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        print(f"note: not all figures could be drawn: {reason}")


def find(reference: str, outputs: str | None = None) -> Path:
    """Find the run, sweep or lecture of a path, a suffix (k3f9, k3f9/000), or ``latest``.

    Raises:
        UserError: nothing, or more than one folder, answers to it.
    """
    path = Path(reference)
    if run_folder.is_sweep(path) or run_folder.is_run(path) or output_folders.is_lecture(path):
        return path
    if reference == "latest":
        newest = lookup.find("latest", outputs)
        return newest.parent if run_folder.is_sweep(newest.parent) else newest
    root = run_folder.outputs_root(outputs)
    several = [
        p for p in output_folders.folders(root) if run_folder.is_sweep(p)
    ] + output_folders.lectures(root)
    named = [p for p in several if p.name == reference or p.name.endswith(f"-{reference}")]
    return named[0] if len(named) == 1 else lookup.find(reference, outputs)
