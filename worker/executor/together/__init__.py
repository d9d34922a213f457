"""Runs that are in progress together: ``async def`` tasks on one event loop, and tasks of ``threads=N`` on threads.

**The main thread is the loop's.** Its signal handler is what strikes a coroutine that blocks, and only there can it. While coroutines are
in progress, the socket is one more reader of the loop: runs begin and answers leave from its callbacks, those of one turn in one frame.
Without coroutines, the main thread waits for the socket and for threads that end. What must have the main thread for itself, as the
import of a version, stops the loop for as long; what must be alone waits until nothing is in progress.

**What is whose.** Each run has a copy of the context, and in it its number: so what it prints and logs is its own, also in asyncio tasks
and in `asyncio.to_thread` that it begins. Asyncio tasks that a run creates are noted by the loop's task factory, and end with their run.

**Stops.** A coroutine is cancelled; one that keeps the loop for itself when it is told again is struck like a run that is alone. Into a
thread Python raises an exception at its next bytecode (``PyThreadState_SetAsyncExc``): never while it is in code of ours that must not
be cut in two, where it is remembered; and never into the next run, since what is pending is taken back when a run ends. A thread in a
call of C is not reached: its supervisor kills the executor at the end of the grace.

Modules: `members` a run in progress · `tasks` the loop (imported with the first ``async def`` task) · `threads` threads (with the first
that asks for them) · `crew` all of them.
"""
