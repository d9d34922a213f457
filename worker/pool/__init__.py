"""Executors as the supervisor sees them.

- `handle`: one executor: its process, its channel, the versions it has, and its inbox: what it was asked and has not
  answered, by number, in order. What an executor says is looked up by number in *its own* inbox and nowhere else.
- `deadlines`: which head of an inbox is late, and the ladder from asking to SIGKILL.
- `seats`: N seats, each with a handle that is replaced when it dies, or is worn out (`recycling`); more and fewer of them.
- `pool`: all executors: those in seats, those on trial, and a standby.
- `seating`: which executor gets a run, and how many more there is room for.

A request begins when it comes to the head of the inbox: an executor does one thing after the other (many at once, when
async tasks get slots of their own, is a matter of `Handle.begun` being a set). So only heads have deadlines, and only the
head can have crashed its executor.
"""
