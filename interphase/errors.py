"""What can go wrong, said in one sentence each.

Misuse raises one of these; poor data never does: it returns a result whose
:class:`~interphase.assessment.Assessment` says what is wrong with it.
"""


class InterphaseError(Exception):
    """Base of every error this package raises on purpose.

    The message is one sentence that names the thing, its value, what was expected and what
    to do next; the command line prints it without a traceback.
    """


class FileReadError(InterphaseError):
    """A file cannot be read: truncated, corrupt, of an unknown kind, or without its companion."""


class MissingValueError(InterphaseError):
    """A number that the question needs is in no file and was not given."""


class ParameterError(InterphaseError, ValueError):
    """A value given by the caller is outside what it can mean."""


class PhaseError(InterphaseError):
    """A candidate phase is unknown, or its structure cannot be used."""


class LedgerError(InterphaseError):
    """A dose ledger cannot be opened, or nothing can be written to it."""


class ConfigurationError(InterphaseError):
    """A session.toml or study.toml says something that cannot be understood."""
