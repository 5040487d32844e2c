"""What people and monitors are told: which events make a message, to whom, once, and how it goes.

`events`, `stories` and `message` decide and write words; `review` and `watch` read what happened
and fill the outbox; `outbox`, `targets` and `network` send. A run never waits for any of it.
"""
