"""Lock a folder by a file lock that no crash leaves behind.

It is flock's. On NFS, Linux makes a POSIX lock of it, which the server keeps: there an exclusive
lock needs a file that is open for writing, and a shared one a file that is open for reading. So
who works takes `lock` on a file it writes, and who only asks tries a shared lock (`is_locked`).
"""

from __future__ import annotations

import errno
from typing import TextIO

# a system or a share says so where it has no locks; EINVAL: some FUSE file systems
WITHOUT = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


class LocksUnsupported(OSError):
    """Raised where a file system has no locks: nothing can keep a second process out."""


def lock(file: TextIO | int) -> bool:
    """Take the exclusive lock of a file that is open for writing, if nobody holds one. The kernel
    drops it with its owner.

    Raises:
        NoLocks: there are none here, and two processes would not notice each other.
        OSError: anything else; EBADF on NFS, where the file is open for reading alone.
    """
    try:
        import fcntl
    except ImportError as error:  # Windows
        raise LocksUnsupported(errno.ENOSYS, "this system has no file locks") from error
    return _try_lock(file, fcntl.LOCK_EX)


def is_locked(file: TextIO | int) -> bool:
    """Tell whether another process holds the lock of a file that is open for reading.

    Where this cannot be known the answer is no: a run that died must be resumable there, too.
    """
    try:
        import fcntl
    except ImportError:
        return False
    try:
        if _try_lock(file, fcntl.LOCK_SH):
            fcntl.flock(file, fcntl.LOCK_UN)
            return False
        return True
    except OSError:
        return False


def _try_lock(file: TextIO | int, kind: int) -> bool:
    import fcntl

    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno == errno.EACCES:  # what POSIX lets a lock say instead of EAGAIN
            return False
        if error.errno in WITHOUT:
            raise LocksUnsupported(error.errno, error.strerror) from error
        raise
    return True
