"""A claimed run (`run.Run`), what may become of it (`verdicts`; `retrying` where it failed), how that is recorded (`recording`;
`lines` of its log), what Redis has not confirmed yet (`outbox`), what is counted of it (`statistics`), how long runs take (`averages`),
and when leases of other workers are taken over (`suspects`).

`verdicts`, `retrying` and `suspects` are pure: the whole table of outcomes in one place, tested without a process or a server.
"""
