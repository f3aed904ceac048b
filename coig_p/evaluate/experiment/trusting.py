"""What the file of an experiment asks for that its reader may not have meant: commands, secrets, files from elsewhere.

The same as of a run's file (`coig_p.annotate.trust`): said once, and remembered. Commands are remembered with the hash
of the file, so that a changed file is asked about again; a secret has to be named.
"""

from __future__ import annotations

import hashlib
import re

from coig_p.annotate.trust import Wish, asked_by
from coig_p.evaluate.experiment.config import AlignJudge, Experiment
from coig_p.evaluate.experiment.steps import Inputs

_SECRET = re.compile(
    r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|PRIVATE|AUTH|COOKIE|SESSION|SIGNATURE|PROXY|CONNECTION|DATABASE|NETRC|SSH|GPG"
    r"|^(AWS|AZURE|GCP|GOOGLE|GH|GITHUB|GITLAB|DOCKER|KUBE|VAULT)_",
    re.IGNORECASE,
)


def wishes(experiment: Experiment) -> list[Wish]:
    """What the file asks for, each thing once."""
    file = str(experiment.path.resolve())
    sha256 = hashlib.sha256(experiment.text.encode()).hexdigest()
    found = [
        Wish(f"run, for {name}: {command.shown()}", (file, "command", sha256, name))
        for name, (command, _) in experiment.commands().items()
    ]
    for name, (_, env) in experiment.commands().items():
        for variable in env:
            secret = bool(_SECRET.search(variable))
            words = f"give the value of {variable} to the command of {name}"
            wish = Wish(words, (file, "env", sha256, name, variable), f"{variable}@{name}" if secret else "")
            found.append(wish)
    named = [one.store for one in experiment.datasets if (experiment.beside / one.store).exists()]
    named += [one.path for one in experiment.models if (experiment.beside / one.path).exists()]
    named += [path for one in experiment.benchmarks for path in (one.file, one.references, *one.files) if path]
    tables = (experiment.train, experiment.serve, experiment.answer, experiment.judge)
    named += [file for one in tables for file in getattr(one, "files", ())]
    if isinstance(experiment.judge, AlignJudge):
        inputs = Inputs(experiment)
        for benchmark in experiment.benchmarks:
            named.append(str(experiment.judge.path(experiment, benchmark)))
            judge = inputs.judge(benchmark)
            found += [] if judge is None else judge.wishes  # as coigp align judge asks for them
    asked = asked_by(experiment.path, (), {"read": named, "write to": [str(experiment.folder.resolve())]})
    return list(dict.fromkeys([*found, *asked]))
