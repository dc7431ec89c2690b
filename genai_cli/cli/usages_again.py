"""What the help of the verbs says that go on with a run or take it again."""

from __future__ import annotations

RUN = {
    "PATH": "a run's folder",
    "k3f9": "the end of its folder's name; k3f9/000 is a cell of a sweep",
    "latest": "the newest run",
}

FIGURES = {
    "figures=png|pdf|svg": "a PDF or SVG beside each PNG; as the run's own figures, if not given",
    "figures.scale=1.5": "type, lines and markers so many times as large, 0.5 to 1.8",
}

AGAIN: dict[str, list[tuple[str, object]]] = {
    "resume": [
        ("", "genai resume RUN [KEY=VALUE …]"),
        ("RUN", RUN),
        (
            "keys that may change",
            {
                "epochs=N": "train for longer; schedule.horizon=N stretches the schedule with it",
                "tags=[…]": "words to find it by",
                "trainer.*": "max_steps, save_every, keep, figures_every; and, with a note,"
                " devices, accumulate, clip, patience, min_delta, rollback, step, threads,"
                " deterministic",
                "figures=png|pdf|svg": "like figures.scale=1.5; of a finished run the figures are"
                " drawn anew, from the same numbers",
                "optimizer.*": "with a note, like schedule.*, device, precision and monitor: the"
                " rest of the run is then not as first planned",
            },
        ),
        (
            "and",
            {
                "measure=all": "measure the whole test split, however long it takes: the end of a"
                " run takes a tenth of its training, 10 s at least, and measures what fits",
            },
        ),
        (
            "",
            "Without changes, an interrupted run goes on from its last checkpoint and ends with"
            " the numbers of an uninterrupted one. One that was stopped while it was measured is"
            " measured. A finished run stays as it is (exit code 0).",
        ),
        (
            "examples",
            ["genai resume latest", "genai resume k3f9 epochs=60", "genai resume k3f9 measure=all"],
        ),
    ],
    "reproduce": [
        ("", "genai reproduce RUN [KEY=VALUE …]"),
        ("RUN", RUN),
        (
            "keys",
            {
                "rtol=1e-3": "difference that is still within tolerance, as a share of the largest"
                " value of its column",
                "device=NAME": "another device than the run's",
                "outputs=DIR": "where the runs are and the new one goes, if not ./outputs or"
                " $GENAI_OUTPUTS",
            },
        ),
        (
            "",
            "It trains again in a folder of its own, with the recorded threads and kind of step,"
            " every change of a resume at its step, and says: identical, within tolerance, or what"
            " differs first and by how much, beside the versions and the machine of then and now."
            " Exit code 1 where it differs. What another machine, kernel or number of threads"
            " rounds otherwise grows from step to step: numbers that agree to 1e-5 after a few"
            " steps may be 1e-3 apart at a run's end, hence the default. Where nothing is listed"
            " as not the same, ask for rtol=0.",
        ),
        ("examples", ["genai reproduce latest", "genai reproduce k3f9 rtol=1e-5"]),
    ],
    "replay": [
        ("", "genai replay RUN [KEY=VALUE …]"),
        ("RUN", RUN),
        (
            "keys",
            {
                "precision=fp64": "or fp32, bf16: a second opinion; the run's own if not given",
                "outputs=DIR": "where the runs are, if not ./outputs or $GENAI_OUTPUTS",
            },
        ),
        (
            "",
            "A run that fails because a loss, a gradient or an update is not finite keeps the step"
            " in RUN/blackbox: weights and optimizer before it, batch and noise. It is taken again"
            " on the CPU, with the range of every layer and the first that is not finite. Exit code"
            " 1 where it is finite here.",
        ),
        ("examples", ["genai replay latest", "genai replay k3f9 precision=fp64"]),
    ],
}
