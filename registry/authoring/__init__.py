"""What task files are written with: `@task`, `Task`, `TaskContext`, `Retry`.

Standard library only: executors import this package, and nothing that costs memory. Options are collected here as they
were written; `taskq.registry.model.spec` validates them when a file is inspected.
"""
