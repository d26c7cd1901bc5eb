"""A census as a bag of tasks: in this process, on this machine's cores, or on a cluster that is there.

A task is a layer's checkpoints, or some of them; results are durable one by one, in a folder that every
worker sees. So the three ways give the same tables, a worker that dies costs at most the checkpoint it had
at hand, and a census that is started again does only what is left.

* in this process: ``measure(chosen, sample, folder)``;
* this machine: ``measure(..., workers=8)`` starts a ``LocalCluster``;
* anywhere: start a scheduler with dask's own deployers (``dask scheduler``, ``dask-jobqueue`` for SLURM,
  ``dask-kubernetes``, ``SSHCluster``) and give its address, ``measure(..., scheduler="tcp://host:8786")``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from geowall.census.ledger import Ledger
from geowall.census.sample import Sample
from geowall.census.work import Job, Settings, fingerprint, key_of, run
from geowall.paths import GeowallError
from geowall.sae.gemma_scope import Checkpoint

TABLES = ("checkpoints", "latents", "quantiles", "labels")
PATIENCE = 5  # seconds for a scheduler to answer
RETRIES = 3  # of a task whose worker died

Progress = Callable[[int, int], None]


def jobs(
    chosen: Iterable[Checkpoint], sample: Sample, folder: Path, settings: Settings, most: int = 0
) -> list[Job]:
    """The bag: a job for each model, site and layer, in pieces of ``most`` checkpoints if it is given."""
    ordered = sorted(chosen, key=lambda c: (c.model, c.site, c.layer, c.d_sae, c.nominal_l0, c.name))
    bag = []
    for _, group in itertools.groupby(ordered, key=lambda c: (c.model, c.site, c.layer)):
        own = list(group)
        step = most or len(own)
        cuts = [tuple(own[i : i + step]) for i in range(0, len(own), step)]
        bag += [Job(sample, cut, str(folder), settings) for cut in cuts]
    return bag


def measure(
    chosen: Iterable[Checkpoint],
    sample: Sample,
    folder: Path,
    settings: Settings | None = None,
    workers: int = 0,
    scheduler: str = "",
    most: int = 0,
    on_progress: Progress = lambda done, total: None,
) -> dict[str, pd.DataFrame]:
    """Measure checkpoints on one sample; what is durable already is not measured again.

    Args:
        chosen: checkpoints of any layers and sites (:mod:`geowall.sae.inventory`).
        sample: the tokens.
        folder: where results become durable; every worker must see it under this path.
        settings: how they are measured.
        workers: processes on this machine; 0 stays in this one.
        scheduler: address of a dask scheduler; overrides ``workers``.
        most: checkpoints in a task; 0 takes a layer whole, so that its tokens are read once.
        on_progress: called with checkpoints done and in all.

    Returns:
        ``checkpoints`` (a row each, in the order of model, site, layer, width, sparsity), ``latents``,
        ``quantiles`` and ``labels``: see :mod:`geowall.census.rows`.

    Raises:
        GeowallError: if there is nothing to measure, or no dask where one is asked for.
    """
    settings, folder = settings or Settings(), Path(folder).resolve()
    bag = jobs(chosen, sample, folder, settings, most)
    if not bag:
        raise GeowallError("nothing was measured", "no checkpoint was given", "choose some")
    keys = [key_of(c, sample, settings) for job in bag for c in job.checkpoints]
    ledger = Ledger(folder)
    if scheduler or workers:
        _spread(bag, workers, scheduler, on_progress)
    else:
        done = itertools.count(sum(map(ledger.has, keys)) + 1)
        for job in bag:
            run(job, lambda _: on_progress(next(done), len(keys)))
    return {name: ledger.gather(name, keys) for name in TABLES}


def _spread(bag: list[Job], workers: int, scheduler: str, on_progress: Progress) -> None:
    """Hand the jobs to a cluster and wait; the first job that cannot be done raises its own error."""
    with _client(workers, scheduler) as client:
        from distributed import as_completed

        name, done = fingerprint(bag), 0
        waiting = {client.submit(run, j, key=f"{name}-{i}", retries=RETRIES): j for i, j in enumerate(bag)}
        for future in as_completed(waiting, loop=client.loop):
            future.result()
            done += len(waiting[future].checkpoints)
            on_progress(done, sum(len(job.checkpoints) for job in bag))


@contextmanager
def _client(workers: int, scheduler: str) -> Iterator[Any]:
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        why = "dask.distributed is not installed"
        raise GeowallError("the census did not start", why, "pip install 'geowall[cluster]'") from None
    if scheduler:
        try:
            client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
        except OSError:
            why = f"no scheduler answers at {scheduler}"
            raise GeowallError("the census did not start", why, "start one: dask scheduler") from None
        with client:
            yield client
    else:
        options = {"threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
        with LocalCluster(workers, **options) as cluster, Client(cluster, set_as_default=False) as client:
            yield client
