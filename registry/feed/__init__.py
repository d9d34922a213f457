"""How a change of the registry reaches a process: `Snapshot` is what it knows, `Feed` keeps that up to date.

The truth is the registry hash and its revision; a snapshot is always that of exactly one revision. `Feed` moves it with one
script (``catchup.lua``) that returns the records of all tasks changed since the revision that the caller has, as of one
moment; where the change log no longer reaches back that far, or the revision went backwards, it returns the whole hash.

Why nothing can be missed: the channel is subscribed *before* the first catch-up, so that a change falls either into the
catch-up or behind the subscription; a catch-up follows each new subscription; a poll stands behind the channel; and whoever
claims a run learns the revision from the claim itself and calls ``catch_up(at_least=…)`` before it starts anything.

Why nothing on the channel can do harm: a message is only ever a reason to ask. Its content is not looked at. Doubled,
reordered, forged or garbled ones cost a call that finds nothing, and a flood of them one call each 20 ms.

Deliberately absent: applying a message's content. It would save a round trip and need an answer for each gap.
"""
