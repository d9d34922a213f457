"""Versions on this worker: which ones it needs, whether they can be loaded, and who has to know.

- `routes`: which version a run gets, or why it gets none. Pure; the pointer that a swap moves is the snapshot it looks at.
- `catalog`: what is known here of each version: `Entry`.
- `stored`: a version as the registry holds it, and the LOAD that it becomes.
- `trials`: a version's first import happens in a throw-away executor under a deadline. What hangs, exits or crashes there harms nobody.
- `loader`: a change of the registry → fetch, try, load into idle executors → report; and unload what nobody needs.
- `waiting`: runs that were claimed before their version was here.
- `inspections`: files that another machine could not import are inspected here, again in a throw-away executor.

A version's life here: *new* → (fetched, digest checked, tried) → *ready* or *failed*. Ready: executors are given it ahead of its
first use, those that are idle at once, the busy ones behind what they do. Where all are busy, the throw-away executor stays as a
standby. *failed*: no run of it is started, runs go back unharmed; tried again after a while, when somebody asks for it.

A change is *applied* once each version that its tasks are routed to is ready in the executors that were idle, or has failed.
`Loader.applied` is the revision up to which that is so; the worker reports it, with a `LoadReport` a version.
"""
