"""Who may change what in the registry, and the one transaction that does it.

::

    files ──inspect──▶ wanted ──store artifact──▶ stage ──▶ each live worker loads it ──▶ switch
                                                    │                 │
                                       nobody serves it: switch       └─ a failure, or the time is over ──▶ unstage

**One transaction.** Every change goes through `commit.commit`: WATCH, read, decide, MULTI. What is decided is a pure
function of what was read (`plan`, `transitions`), so a writer that lost a race decides again on what the winner left: no
update is lost, revisions have no gaps, and a caller learns of a conflict only where it demanded a state. The decision, the
revision, the change-log entry and the announcement are one EXEC; a crash leaves all or none.

**Two changes for one rollout.** `staged` makes the versions known and has the workers load them; nothing runs on them yet.
Only when those workers have reported is the route switched by a second change. In between others may change other tasks, and
pause or retire this one; who wants to roll out the *same* task waits its turn, for as long as the other registrar is heard of: one
that was killed leaves the stage to the next within 5 s. So concurrent registrations take effect one after the other, in the order
of their revisions.

**What a version is.** Content (artifact, attribute, spec) that a task had before is that version again; numbers only go on.
What was rolled back from is refused unless forced: whoever rolled back had a reason.

Modules: `plan` and `transitions` decide, `commit` writes, `register` makes versions of files, `rollout` stages and switches, `routing`
changes routes and states, `fleet` asks the workers, `draining` has one of them end, `reading` tells people, `failures` remembers what
went wrong, `desk` is what each of them works with, `registry` is the face.

Deliberately absent: a lock. It would have to be fenced like everything else, and WATCH already is.
"""
