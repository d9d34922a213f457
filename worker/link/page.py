"""`Page`: what an executor has begun, in memory that it shares with its supervisor and that outlives it.

An answer travels; a process may be killed before its answer leaves. What it had begun by then must be known all the same: a start that
nobody recorded would be a start too many. So an executor writes the number of what it begins into shared memory, before it begins it, and
the number of what it did alone once that has ended. A store costs some 40 ns, no system call, and is there for whoever looks the moment
after a SIGKILL. Since numbers begin in rising order (`taskq.worker.link.protocol`), the last one says it of all.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

_BEGUN: Final = 0
_ENDED: Final = 1


class Page:
    """One page of memory. Either end has its own; the executor writes, the supervisor reads.

    Attributes:
        cells: the numbers: ``cells[0]`` what was begun last, ``cells[1]`` what has ended last of what is done alone.
    """

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind ``descriptor``, which is closed."""
        try:
            self._memory = mmap.mmap(descriptor, mmap.PAGESIZE)
        finally:
            os.close(descriptor)
        self.cells = memoryview(self._memory).cast("Q")

    @staticmethod
    def make() -> tuple[Page, int]:
        """A page, and the descriptor of its memory for the executor; the caller closes that."""
        descriptor = os.memfd_create("taskq-begun")
        try:
            os.ftruncate(descriptor, mmap.PAGESIZE)
            return Page(os.dup(descriptor)), descriptor
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def begun(self) -> int:
        """The number of what was begun last; 0 for nothing."""
        return int(self.cells[_BEGUN])

    @property
    def ended(self) -> int:
        """The number of what has ended last, of what the executor does alone."""
        return int(self.cells[_ENDED])

    def close(self) -> None:
        """Unmap it."""
        self.cells.release()
        self._memory.close()
