"""The side of the sandbox that runs inside the worker: in its own Python (3.10 or newer), with the standard library only.

Imports nothing from outside this folder, so that the files can be sent into a container that has never heard of unmask.
"""
