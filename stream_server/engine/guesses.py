"""Segments that may be about to end, heard before that is known, while nobody else wants the workers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream_server.engine.job import Job
from stream_server.engine.statistics import Statistics
from stream_server.engine.stream import TenantKey


class Guesses:
    """At most one of each session. One that is dropped before it was begun has cost nothing and counts as nothing."""

    def __init__(self, statistics: Statistics) -> None:
        self.waiting: dict[Job, None] = {}
        """Those that have not been begun."""
        self._statistics = statistics
        self._of: dict[TenantKey, Job] = {}

    def add(self, job: Job) -> None:
        """A session's newest guess; the one before it was wrong."""
        self.drop(job.tenant)
        self._of[job.tenant] = job
        self.waiting[job] = None

    def drop(self, tenant: TenantKey) -> None:
        """A session's guess was wrong, or nobody wants to know any more."""
        job = self._of.pop(tenant, None)
        if job is None:
            return
        job.wanted = False
        if job in self.waiting:
            del self.waiting[job]
        else:
            self._statistics.guesses_dropped += 1

    def fail(self, job: Job) -> None:
        """Nothing comes of one; if its segment ends, it is heard as any."""
        if self._of.get(job.tenant) is job:
            self.drop(job.tenant)

    def begin(self, batch: Callable[[Job, dict[Job, None], int], list[Job]], most: int) -> list[Job]:
        """Those that are heard next, `most` at most, as `batch` puts them together; there must be one that waits."""
        jobs = batch(min(self.waiting, key=lambda job: job.due), self.waiting, most)
        self._statistics.guesses_begun += len(jobs)
        return jobs

    def adopt(self, closed: Job) -> Job | None:
        """The guess that was right and has been begun, if there is one: from now on it is what `closed` asks for."""
        job = self._of.get(closed.tenant)
        if job is None:
            return None
        same = (job.generation, job.begin, job.segment.hotwords) == (
            closed.generation, closed.begin, closed.segment.hotwords) and np.array_equal(
            job.segment.samples, closed.segment.samples)
        if not same or job in self.waiting:
            self.drop(closed.tenant)
            return None
        del self._of[closed.tenant]
        job.sequence, job.due, job.too_late, job.guess = closed.sequence, closed.due, closed.too_late, False
        self._statistics.guesses_used += 1
        return job
