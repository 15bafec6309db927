"""Start the command line: `python -m manageboot`, and the script `manageboot`."""

import signal
import sys

# Until the command line listens, a signal ends the run as it ends any program: at once, and without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the command line of this process, and return its exit status."""
    # Imported here: it takes a while, and by then signals have to be dealt with.
    from manageboot import cli, inherited, signals

    inherited.speak_utf8()
    signals.listen()
    status = cli.run(sys.argv[1:])
    signals.ignore()
    return status


if __name__ == "__main__":
    sys.exit(main())
