"""What the help of `genai doctor` says."""

from __future__ import annotations

DOCTOR: dict[str, list[tuple[str, object]]] = {
    "doctor": [
        ("", "genai doctor RUN…|SWEEP…|FILE.csv… [outputs=DIR] [--json]"),
        (
            "RUN, SWEEP or FILE",
            {
                "PATH": "the folder of a run, or of a sweep: then a table of all its runs",
                "k3f9": "the end of its folder's name; k3f9/000 is a cell of a sweep",
                "latest": "what was started last, a run or a sweep",
                "FILE.csv": "a loss curve of any tool, with epoch,loss,val_loss",
            },
        ),
        (
            "flags",
            {"--json": "for scripts: phrase, evidence, confidence, since, command, advice"},
        ),
        (
            "",
            "A finding is one of: still learning, converged, learning rate too high or too low,"
            " jumps, plateau then fall, overfitting, validation below training, diverged, mean"
            " collapse, posterior collapse, decoder ignores the code, discriminator won, generator"
            " vanishing, mode collapse, inverse error, EMA too young, loss does not fit the"
            " activation. A healthy run gets one of the first two and nothing else. A CSV is judged"
            " by its curves alone; a run also by its settings and by what was measured at its end.",
        ),
        (
            "",
            "CSV files of Keras' and Lightning's CSVLogger are read as they are. The confidence is"
            " 50 % just beyond a rule's limit, 75 % at twice the limit; the limits stand in"
            " genai_cli/doctor/limits.py.",
        ),
        (
            "examples",
            ["genai doctor latest", "genai doctor k3f9", "genai doctor history.csv --json"],
        ),
    ],
}
