"""The host's side of devices: what talks to an agent (``runtime/agent``) over a connection.

``docs/reference/device-protocol.md`` describes what is said.
"""
