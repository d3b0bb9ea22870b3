"""Let workers do pieces of work, and take what becomes of each as it ends."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from tools.cluster.errors import ClusterError, WorkersLostError

if TYPE_CHECKING:
    from distributed import Client

Task = TypeVar("Task")
Result = TypeVar("Result")


def work(
    client: "Client", function: Callable[[Task], Result], tasks: Mapping[str, Task]
) -> Iterator[tuple[str, Result | Exception]]:
    """Do all tasks, the first ones first; yield the name of each with what became of it.

    What a worker had when it died is done by another one, and given up when it ended four. What was
    done but not yet told is done again then: `function` had better see that it is.

    Args:
        client: whose workers compute.
        function: of a task; it can be imported by name.
        tasks: by name.

    Raises:
        ClusterError: the scheduler is lost; what is not yielded yet may be done or not.
    """
    from distributed import as_completed  # noqa: PLC0415  not always installed

    run = f"{function.__name__}-{uuid4().hex}"
    names = {f"{run}-{i:07d}": name for i, name in enumerate(tasks)}  # Dask goes by their order
    if not names:
        return
    started = as_completed(
        client.map(function, list(tasks.values()), key=list(names), pure=False), loop=client.loop
    )
    for future in started:
        yield names[future.key], _outcome(client, future)


def _outcome(client: "Client", future: Any) -> Any:
    from distributed import KilledWorker  # noqa: PLC0415  as above

    try:
        return future.result()
    except KilledWorker:
        return WorkersLostError(
            "expected a worker to live through it, found that it ended every one that had it: "
            "of memory most likely; give them more with --memory, or memory= of a job"
        )
    except (Exception, CancelledError) as error:
        if future.status == "error":  # of the task itself
            return error
        raise ClusterError(
            f"expected the scheduler {client.scheduler.address} to go on, found it lost; what is "
            "done is kept: run the same command again"
        ) from error
