"""Workers of a Dask cluster, each with one thread, as PyTorch has one generator per process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from selena.errors import ClusterError, ConfigError
from selena.pools.remote import Terms, conditions_here, task_name, work

R = TypeVar("R")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DaskPool(Terms):
    """The workers of one cluster; `address` is dask://HOST:PORT of its scheduler."""

    def slots(self) -> int:
        """Return the number of workers, at least 1."""
        return max(1, len(_threads(self._client())))

    def run(
        self, function: Callable[..., R], tasks: Sequence[Any], shared: Sequence[Any]
    ) -> Iterator[tuple[int, R]]:
        """Yield the number and the result of each task, in order of arrival; see `RayPool`."""
        from distributed import as_completed

        client = self._client()
        workers = self._willing(client)
        calls, parts = self.calls(function, tasks, shared)
        data = client.scatter(parts, broadcast=True, workers=workers, hash=False)
        where = {"workers": workers, "pure": False}
        sent = {client.submit(work, call, *data, **where): i for i, call in enumerate(calls)}
        try:
            for future in as_completed(list(sent)):
                number = sent.pop(future)
                name = task_name(tasks[number], number)
                if future.status != "finished":  # Dask has already retried it on other workers
                    error = future.exception() if future.status == "error" else future.status
                    raise ClusterError(f"{name} was lost ({error}). Run the same command again.")
                outcome = future.result()
                self.note(outcome)
                yield number, outcome.result(name)
        finally:
            client.cancel(list(sent), force=True)

    def _willing(self, client: Any) -> list[str]:
        """Return the addresses of the workers that may take part; name the others."""
        threads, willing, told = _threads(client), [], []
        for address, found in client.run(conditions_here, self.needs).items():
            problems = [] if self.mixed else self.asked.differences(found)
            if threads.get(address) != 1:
                problems = ["its threads share a random generator; start it with --nthreads 1"]
            if problems:
                told.append(f"{address} takes no part: {'; '.join(problems)}")
                _LOG.warning("%s.", told[-1])
            else:
                willing.append(address)
        if not willing:
            raise ClusterError(f"No worker of {self.address} may take part. {' | '.join(told)}.")
        return willing

    def _client(self) -> Any:
        try:
            from distributed import Client
        except ImportError as error:
            raise ConfigError("Install Dask: pip install 'selena-privacy[dask]'.") from error
        if "dask" not in self.memory:  # one connection per workspace
            self.memory["dask"] = Client(self.address.replace("dask://", "tcp://"), timeout=30)
        return self.memory["dask"]


def _threads(client: Any) -> dict[str, int]:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {address: worker["nthreads"] for address, worker in workers.items()}
