"""What the help of `genai audit` says."""

from __future__ import annotations

from genai_cli.cli.usages_again import FIGURES

AUDIT: dict[str, list[tuple[str, object]]] = {
    "audit": [
        ("", "genai audit RUN…|SWEEP… [KEY=VALUE …] [--csv|--json]"),
        (
            "RUN or SWEEP",
            {
                "PATH": "the folder of a run, or of a sweep: then a table of all its runs",
                "k3f9": "the end of its folder's name; k3f9/000 is a cell of a sweep",
                "latest": "what was started last, a run or a sweep",
            },
        ),
        (
            "keys",
            {
                "n=2000": "samples whose classes are read",
                "seed=0": "of the samples",
                "batch_size=512": "samples in the model at once",
                "checkpoint=best": "or last, or a name like step-000600",
                "ema=true|false": "averaged weights or raw ones; averaged where the run has them",
                "device=auto": "auto cpu cuda cuda:0 mps",
                "outputs=DIR": "where the runs are, if not ./outputs or $GENAI_OUTPUTS",
                **FIGURES,
            },
        ),
        (
            "keys of a family",
            {
                "temperature=1.0": "autoencoder, vae, latent_flow, flow, gan",
                "sampler, steps, eta, guidance": "ddpm: as in genai sample",
            },
        ),
        ("flags", {"--csv": "print a row for each class", "--json": "print all of it"}),
        (
            "",
            "For every class: its share of the population (the test split), of training and of"
            " samples with a 95 % interval; the error of its reconstructions, and which class they"
            " are taken for. A class is marked where its share of samples differs beyond chance"
            " (5 % for all classes together) from what the classifier would read off images drawn"
            " as in training, so that its own errors raise no alarm.",
        ),
        (
            "",
            "It reads classes with the reference classifier, which has seen the whole population."
            " A picture of which it is as unsure as of the most doubtful 5 % of test images is"
            " unclear. It writes RUN/audit: audit.json, audit.csv, audit.png; of a sweep, these in"
            " its own folder, too. A class is made rare by dataset.rare and dataset.rare_share.",
        ),
        (
            "examples",
            [
                "genai train model=vae dataset=digits dataset.rare=8",
                "genai audit latest",
                "genai audit k3f9 n=10000 --csv",
            ],
        ),
    ],
}
