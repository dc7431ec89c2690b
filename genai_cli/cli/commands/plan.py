"""`genai plan [-m] …` estimates the cost of a run or a sweep before it is launched.

The line is that of `genai train`. Cells of one shape are measured once, by a few real steps in a
process of its own; nothing is written to the outputs.
"""

from __future__ import annotations

import sys

from genai_cli.errors import UserError
from genai_cli.sweeps.plan import print_costs, render_batch_script

SCRIPT = "--script"


def main(args: list[str]) -> int:
    """Print the costs, or with --script only the batch script; 1 where a shape fails."""
    from genai_cli.config import compose
    from genai_cli.launchers.settings import Slurm, gpus_of, read_launcher, read_run_launcher

    line = compose.parse_line([word for word in args if word != SCRIPT])
    if line.show:
        raise UserError(f"{line.show[0]} belongs to the run; type: genai train {line.show[0]} …")
    launcher = read_launcher(line) if line.multirun else read_run_launcher(line)
    if SCRIPT in args and not isinstance(launcher, Slurm):
        raise UserError(f"{SCRIPT} prints a script of Slurm's; add hydra/launcher=slurm")
    if line.multirun:
        from genai_cli.launchers.settings import Serial
        from genai_cli.sweeps.checked import SkipInvalid, refuse_sweep, validate_cells
        from genai_cli.sweeps.given import read_sweep

        sweep = read_sweep(line)
        if sweep.search == "grid":
            refuse = SkipInvalid() if sweep.skip_invalid else refuse_sweep
            composed = compose.compose_cells("train", line, sweep.over, refuse, sweep.cells)
            kept = validate_cells(composed, refuse, gpus_of(launcher))
        else:
            from genai_cli.sweeps.search.launch import plan_cells

            kept, what = plan_cells(line, sweep, launcher or Serial())
            print(what, file=sys.stderr)
    else:
        from genai_cli.runner.prepare import prepare

        cell = compose.compose_single("train", line)
        note = lambda text: print(text, file=sys.stderr)  # noqa: E731
        kept = [(cell, prepare(cell.config, note, gpus=gpus_of(launcher)))]
    if isinstance(launcher, Slurm):
        from genai_cli.launchers.start import check_resources

        check_resources(launcher, [prepared.cfg for _, prepared in kept])
    if SCRIPT in args:
        print(render_batch_script(launcher, kept), end="")
        return 0
    return print_costs(kept, launcher)
