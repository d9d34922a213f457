"""Proves the compose stack on a real Docker; see `scripts/stack-proof`. Standard library only: it needs no installed taskq.

`stack` drives Docker and Compose, `proofs` holds one function a promise, ``files/`` is what the stack is given to run.
"""
