"""The plan of a node whose file grows: anew whenever enough rows have come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from qsynth.config.run import RunConfig
from qsynth.data import DataSet, load_data
from qsynth.errors import DataError, StateError
from qsynth.experiment.build import build
from qsynth.host.history import History, least_of
from qsynth.privacy.contribution import digest_of
from qsynth.training.plan import NodePlan, RunPlan


class GrowingFile:
    """Look at a file, and give the plan of all the rows that have come in batches.

    config: with growth=file.  home: of the node, which remembers the batches.  share: which node of
    the fleet it is.
    """

    def __init__(self, config: RunConfig, home: Path, share: int = 0) -> None:
        self.config, self.home, self.share = config, home, share
        self.history = History.load(home)
        self.every_s, self.steps = config.growth.every_s, config.growth.steps
        self._seen: object = None

    @property
    def origin(self) -> bytes:
        """Return what stands for the first batch: of which node it is."""
        return bytes.fromhex(self.history.digests[0])[:16]

    def plan(self) -> RunPlan:
        """Return the plan of the batches so far; the first one is what is there now.

        Raises StateError where rows of a batch are not those that they were, DataError where some
        are gone.
        """
        # Whatever has come since may still be in the writing: `grown` looks at it.
        ends = self.history.ends or (self._there(),)
        plan = self._built(self._loaded(ends), ends)
        self._remember(plan, ends)
        return plan

    def grown(self) -> RunPlan | None:
        """Return the plan with one batch more; None where too few rows have come.

        Raises DataError and StateError where the file cannot be taken as it is now: a later look
        may find it mended.
        """
        seen = self._state()
        if seen == self._seen:
            return None
        there = self._there()
        if there - self.history.ends[-1] < self.config.growth.least:
            self._seen = seen
            return None
        ends = (*self.history.ends, there)
        plan = self._built(self._loaded(ends), ends)
        self._remember(plan, ends)
        self._seen = seen
        return plan

    def _there(self) -> int:
        """Return how many rows there are.  Raises StateError where they are fewer than before."""
        count: int = self.config.data.usable_rows(self.config.task)
        if self.history.ends and count < self.history.ends[-1]:
            raise StateError(self._said("has fewer rows than before"))
        return count

    def _state(self) -> object:
        """Return what is another object once the file has changed.  Raises DataError."""
        try:
            now = Path(self.config.data.path).expanduser().stat()
        except OSError as error:
            raise DataError(f"data.path={self.config.data.path}: {error.strerror}") from None
        return (now.st_mtime_ns, now.st_size, now.st_ino)

    def _loaded(self, ends: tuple[int, ...]) -> DataSet:
        return load_data(self.config.data.ended(ends), self.config.task)

    def _built(self, data: DataSet, ends: tuple[int, ...]) -> RunPlan:
        config = replace(self.config, data=self.config.data.ended(ends))
        return replace(build(config, self.home, data, whole=False), home=self.home)

    def _remember(self, plan: RunPlan, ends: tuple[int, ...]) -> None:
        """Write down a new batch.  Raises StateError where an older one has changed."""
        digests = batch_digests(plan, plan.shared(self.share), len(ends))
        changed = self.history.changed(digests)
        if changed is not None:
            first, last = (0, *self.history.ends)[changed], self.history.ends[changed]
            raise StateError(
                self._said(
                    f"rows {first + 1} to {last} are not those of before, or split otherwise "
                    "(partition.*, data.test_share, seed)"
                )
            )
        made = History(ends, digests, least_of(plan.rules))
        made.follow(self.history, plan.rules, self.home)
        self.history = made

    def _said(self, what: str) -> str:
        return (
            f"data.path={self.config.data.path}: {what}; rows may be added at its end, and none "
            "changed or taken away; give them back, or begin with another --home"
        )


def batch_digests(plan: RunPlan, node: NodePlan, batches: int) -> tuple[str, ...]:
    """Return what stands for the samples of each batch, and for the part that each is in."""
    data, share = plan.data, node.share
    came, tested = (
        np.zeros(len(y), np.int64) if batch is None else batch
        for y, batch in ((data.train_y, data.train_batch), (data.test_y, data.test_batch))
    )
    made = []
    for batch in range(batches):
        parts = [part[came[part] == batch] for part in (share.train, share.validation, share.audit)]
        arrays = [a[part] for part in parts for a in (data.train_x, data.train_y)]
        rows = tested == batch
        made.append(digest_of(*arrays, data.test_x[rows], data.test_y[rows]).hex())
    return tuple(made)
