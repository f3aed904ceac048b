"""Run one command of an experiment: in a group of its own, with an environment of its own, its words in a log.

A run that is killed takes its commands along, whichever way it is killed: see `coig_p.evaluate.experiment.guard`. What
such a command left behind is made anew, unless it had ended well before: then its result is taken over.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from coig_p.core.text import printable
from coig_p.errors import CoigPError, UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

GUARD = Path(__file__).with_name("guard.py")
_LINES, _BYTES, _WIDE = 8, 1 << 14, 300  # that an error shows of a log
_PATIENCE = 30.0  # seconds for what an earlier run left behind to end
# What a command needs to run at all, or to find the machine's parts; none of it is a secret. All else is named in env.
_PASSED = re.compile(
    r"^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TERM|TMPDIR|TEMP|TMP|VIRTUAL_ENV|XDG_\w+|LD_LIBRARY_PATH|"
    r"DYLD_\w+|CUDA_\w+|NVIDIA_\w+|ROCR_\w+|HIP_\w+|NCCL_\w+|OMP_\w+|MKL_\w+|OPENBLAS_\w+|PYTHON\w+|CONDA_\w+|HF_HOME|"
    r"HF_HUB_CACHE|HF_DATASETS_CACHE|HF_HUB_OFFLINE|HF_DATASETS_OFFLINE|TRANSFORMERS_OFFLINE|TRANSFORMERS_CACHE|"
    r"TORCH_HOME|TRITON_\w+|SYSTEMROOT|COMSPEC|PATHEXT)$"
)


@dataclass(frozen=True)
class Job:
    """A command that is to be run.

    Attributes:
        words: of the command, every place filled.
        where: the folder in which it runs.
        env: variables that it gets besides those that no command can do without.
        folder: where what it makes lies, and what is said of how it ended.
        log: gets what it says.
    """

    words: Sequence[str]
    where: Path
    env: Sequence[str]
    folder: Path
    log: Path

    @property
    def ended(self) -> Path:
        """Says with what code it ended, where it ended by itself."""
        return self.folder / "ended"


def environment_for(env: Sequence[str], variables: Mapping[str, str]) -> dict[str, str]:
    """What a command gets of the environment: what all need, and what the file names.

    Raises:
        UsageError: a variable that is named and not set.
    """
    missing = [name for name in env if name not in variables]
    if missing:
        raise UsageError(f"the variable {missing[0]} is not set, and the file's env names it: set it, or leave it out")
    return {name: value for name, value in variables.items() if _PASSED.match(name) or name in env}


def find_program(word: str, where: Path) -> str:
    """The program that a command's first word names: a path from the file's folder, or a name on PATH.

    One that lies beside coigp, in the environment that has coig_p, comes before those on PATH.

    Raises:
        UsageError: there is none.
    """
    if os.path.dirname(word):
        found = shutil.which(str(where / word))
        hint = f'name what runs it: ["python", "{word}", ...]' if word.endswith(".py") else "is it a program?"
    else:
        found = shutil.which(word, path=sysconfig.get_path("scripts")) or shutil.which(word)
        hint = f"it is neither in {sysconfig.get_path('scripts')} nor on PATH. Is it installed?"
    if found is None:
        raise UsageError(f"no command {word!r}: {hint}")
    return found


def already_done(job: Job) -> bool:
    """Whether the command of a run that was stopped had ended well: only its result was not taken over."""
    try:
        return job.ended.read_text("utf-8") == "0\n"
    except (OSError, ValueError):
        return False


def seconds_of(job: Job) -> float:
    """How long a command took that has ended well."""
    with suppress(OSError):
        return max(0.0, job.ended.stat().st_mtime - (job.folder / "lock").stat().st_mtime)
    return 0.0


def wait_for_leftovers(folder: Path) -> None:
    """See that nothing of a run that was killed still works in `folder`; end it where it does.

    Raises:
        UsageError: it cannot be ended; names its process.
    """
    lock = folder / "lock"
    if fcntl is None or not lock.exists():
        return
    until = time.monotonic() + _PATIENCE
    with lock.open("r+b") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                stream.seek(0)
                told = stream.read(32).strip()
            # Somebody of that group holds the lock, so its number is not another's yet.
            if told.isdigit() and time.monotonic() > until - _PATIENCE / 2:
                with suppress(OSError):
                    os.killpg(int(told), signal.SIGKILL)
            if time.monotonic() > until:
                raise UsageError(
                    f"{folder}: a command of an earlier run still works there, in the group of process "
                    f"{told.decode(errors='replace') or '(unknown)'}: end it first"
                )
            time.sleep(0.05)


@contextmanager
def started(job: Job) -> Iterator[subprocess.Popen[bytes]]:
    """The guard of a command that runs while the block does, and ends with it, whatever ends it.

    Raises:
        UsageError: there is no such command, or a variable that it gets is not set.
    """
    words = [find_program(job.words[0], job.where), *job.words[1:]]
    environment = environment_for(job.env, os.environ)
    job.ended.unlink(missing_ok=True)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    read, write = os.pipe()
    try:
        with job.log.open("ab") as log:
            guard = [sys.executable, "-I", str(GUARD), str(read), str(job.ended), str(job.folder / "lock")]
            process = subprocess.Popen(
                [*guard, *words],
                cwd=job.where,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[read],
                start_new_session=True,
            )
        os.close(read)
        read = -1
        try:
            yield process
        finally:
            os.close(write)  # which ends what still runs
            write = -1
            process.wait()
            with suppress(OSError):  # where the guard was ended alone
                os.killpg(process.pid, signal.SIGKILL)
    finally:
        for descriptor in (read, write):
            if descriptor >= 0:
                os.close(descriptor)


def run(job: Job, what: str) -> None:
    """Run a command to its end.

    Args:
        what: the file, the step and the cell, for the error.

    Raises:
        CoigPError: it ended with another code than 0; shows the end of its log.
        UsageError: see `started`.
    """
    with started(job) as process:
        process.wait()
    if _code(job):
        raise CoigPError(f"{what}: {job.words[0]} failed with {how_ended(job)}. {last_lines(job.log)}")


def how_ended(job: Job) -> str:
    """With what a command ended, in words."""
    code = _code(job)
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _code(job: Job) -> int:
    try:
        return int(job.ended.read_text("utf-8"))
    except (OSError, ValueError):
        return -int(signal.SIGKILL)  # and what ran it, too, or the disk is full


def last_lines(log: Path) -> str:
    """The end of a log, harmless, and where the rest of it is."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError as error:
        return f"Its log, {log}, cannot be read: {error.strerror}"
    # What overwrites a line, as a bar does, is a line of its own here.
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()][-_LINES:]
    if not lines:
        return f"It said nothing ({log})"
    shown = "\n".join(f"  {printable(line)[:_WIDE]}" for line in lines)
    return f"The end of {log}:\n{shown}"


def fresh(folder: Path, *, resumes: bool) -> Path:
    """The folder that a command writes to, empty but where the command goes on where it was."""
    wait_for_leftovers(folder)
    if folder.exists() and not resumes:
        shutil.rmtree(folder)
    out = folder / "out"
    out.mkdir(parents=True, exist_ok=True)
    return out
