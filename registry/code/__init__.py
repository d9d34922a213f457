"""The code of a version: its artifact, its module, and what its signature accepts.

An artifact is stored under the SHA-256 of its bytes, before any record names it, and is checked against that digest on
every read: a flipped byte is refused wherever it happened, and equal code is stored once. It has a time to live until a
committed version names it, so that what a killed registration leaves behind goes away by itself.

A module is executed under a name made of its digest. Two versions of one file are two modules that share nothing, so they
stand side by side in one executor and the old one is dropped without touching the new one. `module` and `traces` need
nothing but the standard library: they are what an executor imports.

What a task accepts is written down once, as JSON Schema derived from its signature (`parameters`), and checked by everybody
else against that document alone (`validation`): who enqueues needs neither the code nor its dependencies. Values are made
plain first (`plain`): dataclasses and models become the map of their fields. What JSON has no form for becomes text where the schema
declares one, since pydantic makes the declared type of it in the executor, and keeps its type where it declares nothing
(`places`). The other way round, who has a function at hand gets a result as the function says that it returns it (`results`);
everybody else reads the plain value.

Deliberately absent: a sandbox. Whoever may write the registry runs code on every worker.
"""
