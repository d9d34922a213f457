"""What the commands of `taskq.commands` share: the group, the common options, errors and exit codes, output.

- **Lazy.** `group.TABLE` names each command's module and one-line help, so ``taskq --help`` and completion import neither
  redis, pydantic nor rich. A command's module is imported when that command is used.
- **One way out.** A command raises a `TaskqError`; `options.Command` turns it into a message and a hint on stderr and
  the error's exit code. Nothing else decides exit codes, apart from the few commands whose answer is one (``doctor``,
  ``rollout``, ``run --wait``).
- **stdout is for the answer.** With ``--json`` it is the documents and nothing else, without it tables or the plain value.
  Progress, notes and errors go to stderr.
- **Terminal safety.** What came from tasks and messages is shown without control characters.
"""
