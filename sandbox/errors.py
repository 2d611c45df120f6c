"""What can go wrong that is not the guest's doing.

    SandboxError(RuntimeError)
    ├── SandboxUnavailable   no sandbox can be opened here: for the user to mend, one line that says how
    └── SandboxFault         a sandbox broke twice under one program: says nothing about the program

Whatever a program does to itself is an `Execution` status and never an exception.
"""


class SandboxError(RuntimeError):
    """A failure of the sandbox, not of the program in it."""


class SandboxUnavailable(SandboxError):  # noqa: N818 - it describes a state of the machine, and the message says how to mend it
    """No sandbox can be opened here: one line that says what is missing and how to mend it."""


class SandboxFault(SandboxError):  # noqa: N818 - "fault" is the field's term for an error of the machinery
    """The sandbox broke under a program, was replaced, and broke again: the program has no verdict."""


class UnjudgeableTest(SandboxError):  # noqa: N818 - the adjective says whose fault it is
    """The test itself cannot be run here (broken, or in need of more than plain data): says nothing about the program."""
