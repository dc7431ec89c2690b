"""Roll a diverged run back to the start of its epoch and halve its learning rate.

``trainer.rollback=N`` allows it N times. Where a run goes back to must not hang on when it was
saved, or a run that was cut would end elsewhere: so it is the start of an epoch, and what is kept
is only that from this step on the rate is halved. The run then goes on like a resumed one, from the
newest checkpoint before that step. ``rollbacks`` in run.json holds the list; a run that is killed
before it is written meets the same number again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from genai_cli.errors import UserError
from genai_cli.store import run_folder
from genai_cli.system import atomic_write
from genai_cli.training import checkpoint
from genai_cli.training.state import SLOWER

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig

ROLLBACKS = "rollbacks"  # key of run.json


def cuts(folder: Path) -> tuple[int, ...]:
    """The steps from which on the rate of a run is halved, once for each.

    Raises:
        UserError: run.json has been edited.
    """
    try:
        return tuple(
            int(back["step"]) for back in run_folder.read_json(folder / run_folder.RUN)[ROLLBACKS]
        )
    except KeyError:
        return ()
    except (TypeError, ValueError):
        raise UserError(
            f"{folder / run_folder.RUN}: {ROLLBACKS} is not what a run writes"
        ) from None


def go_back(folder: Path, cfg: TrainConfig, good: int, steps_per_epoch: int) -> str | None:
    """Prepare a run to go on from before ``good``, the steps it had done when all was well.

    What was saved after the step it goes back to is removed: it belongs to another course.

    Returns:
        What to tell; None if it may not go back (again), and nothing was touched.
    """
    run_info = run_folder.read_json(folder / run_folder.RUN)
    before = run_info.get(ROLLBACKS, [])
    number = len(before) + 1
    if number > cfg.trainer.rollback:
        return None
    start = good // steps_per_epoch * steps_per_epoch
    epoch = start // steps_per_epoch + 1
    at = _drop_after(folder / run_folder.CHECKPOINTS, start)
    # last: killed before, it comes to the same number once more, at the same rate
    entry = {"step": start, "epoch": epoch, "bad_step": good + 1, "factor": SLOWER}
    atomic_write.write_json(folder / run_folder.RUN, run_info | {ROLLBACKS: [*before, entry]})
    slower = f"back to the start of epoch {epoch}, at half the rate from there on"
    if at != start:
        slower = f"back to step {at}, at half the rate from the start of epoch {epoch} on"
    return f"{slower} (trainer.rollback: {number} of {cfg.trainer.rollback})"


def _drop_after(saved: Path, start: int) -> int:
    """Remove the checkpoints after step ``start``; the step of the newest that is left, or 0."""
    steps = {path: int(path.name.removeprefix("step-")) for path in checkpoint.candidates(saved)}
    newest = next((path for path, step in steps.items() if step <= start), None)
    kept = {path.name for path, step in steps.items() if step <= start}
    for pointer in ("last", "best"):
        named = saved / pointer
        if named.is_file() and named.read_text().strip() not in kept:
            named.unlink()
    if newest is not None and steps[newest]:
        atomic_write.write_text(saved / "last", newest.name + "\n")
    for path, step in steps.items():
        if step > start:
            shutil.rmtree(path, ignore_errors=True)
    return 0 if newest is None else steps[newest]
