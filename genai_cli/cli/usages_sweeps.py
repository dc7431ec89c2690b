"""What the help of the verbs for sweeps says, as in usages.py."""

from __future__ import annotations

SWEEPS: dict[str, list[tuple[str, object]]] = {
    "plan": [
        ("", "genai plan [-m] [GROUP=NAME …] [KEY=VALUE …]"),
        ("", "genai plan [-m] … hydra/launcher=slurm --script"),
        (
            "words",
            {
                "GROUP=, KEY=": "those of genai train, lists with -m",
                "hydra/launcher=": "joblib or slurm: how long it takes with that",
                "--script": "print the batch script that Slurm would get, and nothing else",
            },
        ),
        (
            "",
            "For each shape: parameters, memory, seconds of a step, of an epoch and of a run,"
            " disk; and for all cells the hours, one after the other and with the launcher. A few"
            " real steps, a validation pass and a run's end are timed once for each shape, in a"
            " process of its own. Nothing is launched, and nothing written to outputs.",
        ),
        (
            "examples",
            [
                "genai plan model=ddpm dataset=fashion_mnist",
                "genai plan -m model=vae,gan bottleneck=8,16,32 hydra/launcher=joblib",
                "genai plan -m bottleneck=8,16,32 hydra/launcher=slurm --script",
            ],
        ),
    ],
    "sweep": [
        ("", "genai sweep resume SWEEP [hydra/launcher=NAME] [hydra.launcher.KEY=VALUE …]"),
        (
            "SWEEP",
            {
                "PATH": "the folder of a sweep",
                "k3f9": "the end of its folder's name",
                "latest": "the newest sweep",
            },
        ),
        (
            "keys",
            {
                "hydra/launcher=NAME": "serial, joblib or slurm, where its runs are to be started"
                " in another way than before",
                "hydra.launcher.KEY": "one setting of that, like hydra.launcher.minutes=120",
                "outputs=DIR": "where the sweeps are, if not ./outputs or $GENAI_OUTPUTS",
                "-cd DIR": "look for more YAML in DIR, like a launcher of your own",
            },
        ),
        (
            "",
            "Runs that are finished, or stopped early, stay as they are; the others go on from"
            " their last checkpoint, or start. A run whose folder is gone or damaged is written"
            " again from sweep.yaml, if it comes out as it was. sweep.csv and the exit code are"
            " those of a sweep.",
        ),
        (
            "examples",
            [
                "genai sweep resume latest",
                "genai sweep resume k3f9 hydra/launcher=joblib hydra.launcher.workers=2",
            ],
        ),
    ],
}
