"""The other end of :mod:`interphase.parallel.children`: a process that does what it is told.

It reads pickled calls from its standard input and writes pickled replies to its standard
output until the input ends. Its parent may kill it at any time.
"""

import os
import pickle
import signal
import sys
import threading
import time
import traceback


def _follow_parent() -> None:
    """End this process when its parent is gone, even in the middle of a call."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Serve calls until standard input ends."""
    # The parent alone decides what an interrupt from the keyboard means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not fall into the replies.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Thread(target=_follow_parent, daemon=True).start()
    calls = sys.stdin.buffer
    while True:
        try:
            function, args = pickle.load(calls)  # noqa: S301 - our own parent wrote it
        except EOFError:
            return
        try:
            reply = pickle.dumps((True, function(*args)))
        except BaseException as error:  # one bad call must not stop the others
            reply = pickle.dumps(
                (False, (type(error).__name__, str(error), traceback.format_exc()))
            )
        replies.write(reply)
        replies.flush()


if __name__ == "__main__":
    main()
