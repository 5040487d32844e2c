"""Real servers on loopback, started by the tests and gone with them; no stand-ins.

Each module holds one server, used as a context manager and free to be stopped, killed, restarted
and paused by the test that started it. The session's shared servers are fixtures in conftest.
"""
