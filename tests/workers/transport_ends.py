"""A worker's and a coordinator's end of one socket, both in this process."""

from __future__ import annotations

import os
import socket

from sharedarray.workers import transport
from sharedarray.workers.transport import INLINE_MAX_NBYTES, CoordinatorEnd, WorkerEnd

HEADER_NBYTES = transport._HEADER.size
LARGE = 2 * INLINE_MAX_NBYTES  # bytes that go through the spool


class Ends:
    """Both ends, and the sockets under them."""

    def __init__(self):
        self.theirs, self.ours = socket.socketpair()
        self.worker = WorkerEnd(self.theirs)
        self.coordinator = CoordinatorEnd(self.ours)

    def received(self):
        """Return the reports that are there."""
        return [self.coordinator.load(frame) for frame in self.frames()]

    def frames(self):
        frames = self.coordinator.read()
        while not (self.coordinator.is_drained or self.coordinator.is_at_end):
            frames += self.coordinator.read()
        return frames

    def raw(self, *reports):
        """Return the bytes that some small reports are sent as."""
        for report in reports:
            self.worker.send(report)
        return self.ours.recv(1 << 20)

    @property
    def spool(self):
        """The worker's own descriptor of the spool, which ends with its process."""
        return self.worker._spool

    def close(self):
        self.coordinator.close()
        self.theirs.close()
        if self.spool is not None:
            os.close(self.spool)
