"""Start the old command line: the script `manageboot.sh`, and `python -m manageboot.icos`."""

import gc
import signal
import sys

# As in manageboot.__main__.
gc.set_threshold(30_000)

# Until the command line listens, a signal ends the run as it ends any program: at once, and without a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run the old command line of this process, and return its exit status."""
    try:
        # Imported here: it takes a while, and by then signals have to be dealt with.
        from manageboot.cli import main
        from manageboot.icos import actions
        from manageboot.system import inherited, signals
    except (OSError, MemoryError) as error:
        from manageboot.__main__ import too_little

        return too_little(error)

    inherited.speak_utf8()
    signals.listen()
    actions.log_messages()
    status = main.run(sys.argv[1:], perform=actions.carry_out)
    signals.ignore()
    return status


if __name__ == "__main__":
    sys.exit(main())
