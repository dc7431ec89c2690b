"""List the commands of `genai` with their summaries, in the order of `genai --help`."""

from __future__ import annotations

VERBS = {
    "train": "train a model, or with -m one for every combination of values",
    "plan": "tell what a run or a sweep will cost, before it is launched",
    "resume": "go on with a run that was interrupted, or train it for longer",
    "reproduce": "train a run again from its folder alone, and compare the two",
    "replay": "look at the step at which a run stopped being finite",
    "sweep": "go on with a sweep: its missing, failed and interrupted runs",
    "sample": "make images with a run, or walk through its codes",
    "evaluate": "measure runs: reconstruction, likelihood, samples, copies, speed",
    "encode": "write the codes of a split, as an array or a table",
    "audit": "count classes: which ones samples and reconstructions keep",
    "compare": "put runs side by side: which one is right for which use",
    "report": "write one page about a run or a sweep, to read, mail or print",
    "lecture": "the lecture's experiments: question, command, picture, finding",
    "doctor": "say what loss curves show, and what to type next",
    "runs": "list, filter and remove runs",
    "data": "list data sets, download one, check one",
    "completion": "make the TAB key complete verbs, keys and values",
}

USAGE = {  # how a line is typed, of verbs whose keys Hydra does not hold
    "plan": (
        "genai plan [-m] [GROUP=NAME …] [KEY=VALUE …]\n"
        "genai plan [-m] … hydra/launcher=slurm --script"
    ),
    "resume": "genai resume RUN [KEY=VALUE …]",
    "reproduce": "genai reproduce RUN [KEY=VALUE …]",
    "replay": "genai replay RUN [KEY=VALUE …]",
    "sweep": "genai sweep resume SWEEP [hydra/launcher=NAME] [hydra.launcher.KEY=VALUE …]",
    "sample": "genai sample RUN [KEY=VALUE …]",
    "evaluate": "genai evaluate RUN…|SWEEP… [KEY=VALUE …] [--brief]",
    "encode": "genai encode RUN [KEY=VALUE …]",
    "audit": "genai audit RUN…|SWEEP… [KEY=VALUE …] [--csv|--json]",
    "compare": "genai compare RUN…|SWEEP… [KEY=VALUE …] [FLAGS]",
    "report": "genai report RUN|SWEEP [KEY=VALUE …] [--no-figures]",
    "lecture": (
        "genai lecture\n"
        "genai lecture all|quick|CHAPTER|NAME… [KEY=VALUE …]\n"
        "genai lecture resume LECTURE [outputs=DIR]"
    ),
    "doctor": "genai doctor RUN…|SWEEP…|FILE.csv… [outputs=DIR] [--json]",
    "runs": ("genai runs [KEY=VALUE …] [--all] [--json]\ngenai runs prune [KEY=VALUE …] [--yes]"),
    "data": (
        "genai data list\ngenai data fetch NAME [root=DIR]\ngenai data check NAME|DIR [KEY=VALUE …]"
    ),
    "completion": "genai completion install|show|uninstall [bash|zsh|fish]",
}
