"""Options that say where a command's work runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from coig_p.store.manifest import StoreFile

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

num_proc_option = click.option(
    "--num-proc",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes that share the shards, the result the same with any number. Default: as many as there are cores, "
    "where each has two seconds of work.",
)
threads_option = click.option(
    "--num-proc",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads that read or write files, at least two. Default: as many as there are cores, up to eight.",
)


@contextmanager
def one_pool(files: Sequence[StoreFile], shared_by: Mapping[str, Any], a_second: float) -> Iterator[dict[str, Any]]:
    """`shared_by` with which all that a command does is done by the same processes, which take a second to start.

    Args:
        files: shards that are shared.
        a_second: responses that one process sees in a second of all its work, about.
    """
    from coig_p.engine.local import held
    from coig_p.store.sharing import workers_for

    with held(workers_for(files, **shared_by, a_second=a_second)) as workers:
        yield {**shared_by, "engine": workers} if isinstance(workers, Executor) else dict(shared_by)


def engine_options(command: _Decorated) -> Any:
    """--num-proc, --engine, --address and --scratch, as one argument `shared_by`: num_proc= and engine= of what is
    called.

    Ray is started with the first task, so that what is wrong with other options is said before.
    """

    @wraps(command)
    def run(
        *args: Any, num_proc: int | None, engine: str, address: str | None, scratch: Path | None, **options: Any
    ) -> Any:
        shared_by: dict[str, Any] = {"num_proc": num_proc, "engine": None}
        if engine == "ray":
            from coig_p.engine.ray import RayExecutor

            executor = RayExecutor(address, num_proc=num_proc, scratch=scratch)
            click.get_current_context().call_on_close(executor.shutdown)
            shared_by["engine"] = executor
        elif address is not None or scratch is not None:
            raise click.UsageError("--address and --scratch are for --engine ray: pass that, too.")
        return command(*args, shared_by=shared_by, **options)

    decorated: Any = run
    for option in reversed(
        [
            num_proc_option,
            click.option(
                "--engine",
                type=click.Choice(["local", "ray"]),
                default="local",
                show_default=True,
                help="Where the work runs; ray needs the extra of that name.",
            ),
            click.option(
                "--address",
                metavar="auto|HOST:PORT",
                help="With --engine ray: a cluster that runs. Default: one that is started on this machine.",
            ),
            click.option(
                "--scratch",
                type=click.Path(path_type=Path),
                metavar="DIR",
                help="With --engine ray: a folder for files of the work. With --address every node must see it. "
                "Default: one in TMPDIR, without --address.",
            ),
        ]
    ):
        decorated = option(decorated)
    return decorated
