"""Whose fault it is that a file cannot be read."""

import errno

OF_THE_SYSTEM = {
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EIO,
    errno.ENOENT,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
}


def is_of_the_system(error: Exception) -> bool:
    """Tell whether an error says nothing of a file's content.

    A damaged file makes its reader fail in many ways, an OSError for an impossible position
    included. Missing memory, permissions or file descriptors are not among them.
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno in OF_THE_SYSTEM
    )
