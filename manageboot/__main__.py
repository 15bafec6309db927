"""Start the command line: `python -m manageboot`, and the script `manageboot`."""

import gc
import os
import signal
import sys

# A query makes some ten thousand objects and drops none of them: to look for garbage would take it a millisecond.
gc.set_threshold(30_000)

# Until the command line listens, a signal ends the run as it ends any program: at once, and without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the command line of this process, and return its exit status."""
    try:
        # Imported here: it takes a while, and by then signals have to be dealt with.
        from manageboot.cli import main
        from manageboot.system import inherited, signals
    except (OSError, MemoryError) as error:
        return too_little(error)

    inherited.speak_utf8()
    signals.listen()
    status = main.run(sys.argv[1:])
    signals.ignore()
    return status


def too_little(error: Exception) -> int:
    """Say that not even the program can be loaded, and return the exit status."""
    cause = str(error) or "Cannot allocate memory"
    os.write(2, f"manageboot: error: cannot start: {cause} [NO_RESOURCES]\n".encode())
    return 74


if __name__ == "__main__":
    sys.exit(main())
