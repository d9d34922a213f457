"""The commands of ``taskq``, one module a subject.

`taskq.cli.group.TABLE` names them. A module holds the command ``name`` as ``<name>_command``; it is imported when that
command is used, and imports at its top only what its commands need. A command opens a `taskq.cli.session.session`, calls
the room that does the work, and prints the answer; it decides nothing.
"""
