"""Typed models of what is stored: specs, versions, task records, changes, workers' reports, run documents.

All are frozen pydantic models. `dump` and `load` turn one into a blob of `taskq.registry.codec` and back; a record of an
unknown format raises `FormatUnknown` and is never guessed at.
"""
