"""What the help of `genai lecture` says."""

from __future__ import annotations

LECTURE: dict[str, list[tuple[str, object]]] = {
    "lecture": [
        ("", "genai lecture"),
        ("", "genai lecture all|quick|CHAPTER|NAME… [KEY=VALUE …]"),
        ("", "genai lecture resume LECTURE [outputs=DIR]"),
        (
            "words",
            {
                "without any": "list the experiments: question and commands",
                "all": "run every one, in the lecture's order",
                "quick": "those that take seconds on a small data set",
                "CHAPTER": "autoencoders, restoring, losses, size, generative, bias, horrors",
                "NAME": "an experiment, as it is listed",
                "resume": "go on with what is missing; LECTURE is a folder, its suffix, or latest",
            },
        ),
        (
            "keys",
            {
                "dataset=digits": "where Fashion-MNIST is not on this machine",
                "KEY=VALUE": "any other key of a training; it goes to the experiments that have it"
                " and leave it open, and the others are named",
                "outputs=DIR": "where the lecture's folder goes, if not ./outputs or"
                " $GENAI_OUTPUTS",
            },
        ),
        (
            "",
            "Every command runs as its YAML in configs/experiment/lecture has it, in a process of"
            " its own; one that fails does not stop the others. The folder holds lecture.json,"
            " lecture.log, an outputs folder for each experiment, and at the end report.html:"
            " question, command, pictures, numbers, finding and lesson of each.",
        ),
        ("examples", ["genai lecture quick", "genai lecture all dataset=digits"]),
    ],
}
