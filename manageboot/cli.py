"""The command line: parses it, wires the parts together, prints, exits.

Results go to stdout, everything else to stderr. Modules are imported by the verb that uses them, so that the queries,
which callers run often, stay quick.
"""

import argparse
import os
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from manageboot import __version__, config, errors, output, signals

SYSTEM_TYPES = ("guestos", "hostos")

_HELP_COLUMNS = 100

_EPILOG = """\
exit status: 0 done, or nothing to do; 2 usage; 65 bad image or environment block; 66 no input; 69 refused in this
state; 70 bug; 73 cannot create; 74 I/O error; 75 another run holds the lock; 77 not permitted; 78 bad configuration;
130 interrupted; 143 terminated
"""

_Handler = Callable[[argparse.Namespace, config.Config], None]


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        # Left to itself, argparse asks for the width of the terminal at every argument, and imports shutil for it.
        columns = os.environ.get("COLUMNS", "")
        super().__init__(prog, width=int(columns) if re.fullmatch("[1-9][0-9]{1,3}", columns) else _HELP_COLUMNS)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise errors.UsageError(f"cannot run: {message}", hint=f"{self.prog} --help")


def perform(arguments: Sequence[str]) -> None:
    """Do what a command line asks for, without the program's name.

    Raises:
        ManagebootError: it can't be done.
    """
    options = _parse(list(arguments))
    if options.disk is not None:
        _run_outside(options)
        return
    if options.handler is _inspect and not config.exists(options.config, profile=options.system):
        # An image is looked at where it is built as well.
        _inspect(options, None)
        return
    settings = config.load(
        options.config,
        profile=options.system,
        grubenv=_absolute(options.grubenv),
        lock_timeout_s=getattr(options, "lock_timeout", None),
    )
    options.handler(options, settings)


def run(arguments: Sequence[str], perform: Callable[[Sequence[str]], None] = perform) -> int:
    """Run a command line, print what goes wrong, and return the exit status.

    Args:
        arguments: the command line, without the program's name.
        perform: does what it asks for; another front door has words of its own.
    """
    _open_standard_files()
    try:
        perform(arguments)
    except errors.ManagebootError as error:
        return _report(error)
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except signals.Terminated:
        _say("terminated")
        return 143
    except Exception as error:  # noqa: BLE001  the last resort: one line, like every other error
        return _report(_bug(error))
    return 0


def _run_outside(options: argparse.Namespace) -> None:
    from manageboot import outside

    if options.handler not in _OUTSIDE:
        raise errors.UsageError(
            "cannot run: with --disk there are only the verbs that need no running system",
            hint="they stand in docs/recovery.md",
        )
    if options.grubenv is not None:
        raise errors.UsageError(
            "cannot run: -f has no meaning with --disk", hint="boot.grub_partition says where it is"
        )
    settings = config.load(
        options.config,
        profile=options.system,
        lock_timeout_s=getattr(options, "lock_timeout", None),
        foreign=True,
    )
    write, devices = _OUTSIDE[options.handler]
    with outside.opened(options.disk, settings, verb=options.verb, write=write, devices=devices) as settings_there:
        options.handler(options, settings_there)


def _open_standard_files() -> None:
    """Take the place of a closed stdin, stdout or stderr, lest a device or the lock be opened there."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one.
            os.open(os.devnull, os.O_RDWR)


def _absolute(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise errors.from_os_error(error, f"find {path}", errors.InputError) from error


def _report(error: errors.ManagebootError) -> int:
    output.tell(f"manageboot: error: {error} [{error.code}]")
    if error.hint:
        output.tell(f"hint: {error.hint}")
    return error.exit_code


def _bug(error: Exception) -> errors.ManagebootError:
    import traceback

    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(place.filename)}:{place.lineno}"
    return errors.ManagebootError(
        f"cannot go on: {type(error).__name__}: {error} ({where})", hint="this is a bug in manageboot; please report it"
    )


def _parse(arguments: list[str]) -> argparse.Namespace:
    system = _take_system_type(arguments)
    parser = _Parser(
        prog="manageboot",
        usage="manageboot [-c CONFIG] [-f GRUBENV] [--disk DISK] [guestos|hostos] VERB [ARGS]",
        description="A/B boot and upgrade agent for nodes that boot with GRUB.",
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", metavar="CONFIG", help="configuration file")
    parser.add_argument("-f", "--grubenv", metavar="GRUBENV", help="environment block, instead of the configured one")
    parser.add_argument(
        "--disk", metavar="DISK", help="disk or image of a system that is stopped, to work on from outside"
    )
    parser.add_argument("--version", action="version", version=f"manageboot {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True, prog=parser.prog)

    def add(name: str, handler: _Handler, text: str, *aliases: str) -> argparse.ArgumentParser:
        verb = verbs.add_parser(
            name, aliases=aliases, help=text, description=text, formatter_class=_Formatter, allow_abbrev=False
        )
        verb.set_defaults(handler=handler, verb=name)
        return verb

    install = add("upgrade-install", _install, "write an update image into the passive slot")
    install.add_argument("images", nargs="+", metavar="IMAGE", help="an archive, - for stdin, or BOOT_IMG ROOT_IMG")
    install.add_argument("--sha256", metavar="HEX", help="the SHA-256 that the archive must have, as given")
    install.add_argument("--progress", choices=("auto", "bar", "json", "none"), default="auto")
    install.add_argument("--skip-identical", action="store_true", help="write only what the slot does not hold yet")
    commit = add("upgrade-commit", _commit, "let the passive slot boot next, on trial, and reboot")
    rollback = add("rollback", _rollback, "go back to the other slot, and reboot")
    for verb in (commit, rollback):
        verb.add_argument("--no-reboot", action="store_true", help="leave the reboot to the caller")
    rollback.add_argument(
        "--because", choices=("by_hand", "unhealthy", "deadline"), default="by_hand", help="of a trial"
    )
    cancel = add("upgrade-cancel", _cancel, "take back a commit that was not tried, or an installation")
    confirm = add("confirm", _confirm, "say that the booted trial is good")
    hold = confirm.add_mutually_exclusive_group()
    hold.add_argument("--hold", action="store_true", help="no: let the daemon decide nothing, somebody is at work")
    hold.add_argument("--release", action="store_true", help="no: let the daemon decide again")
    add("daemon", _daemon, "watch over this boot; what manageboot.service runs")
    add("current", _current, "print the booted slot")
    add("target", _target, "print the passive slot")
    add("next", _next, "print the slot that boots next")
    add("current-root", _current_root, "print the booted root device", "current_root", "current_partition")
    add("target-root", _target_root, "print the passive root device", "target_root", "target_partition")
    status = add("status", _status, "print all that is known of this node")
    history = add("history", _history, "print the last events of this node")
    inspect = add("inspect", _inspect, "print what is in an update image, and whether it fits here")
    inspect.add_argument("images", nargs="+", metavar="IMAGE", help="an archive, - for stdin, or BOOT_IMG ROOT_IMG")
    doctor = add("doctor", _doctor, "print what is wrong with this node's boot chain, and what to do")
    bootloader = add("bootloader", _bootloader, "print, compare or install the grub.cfg that is shipped here")
    bootloader.add_argument("action", choices=("show", "check", "install"))
    for verb in (status, history, inspect, doctor):
        verb.add_argument("--json", action="store_true", help="for programs")
    for verb in (install, commit, rollback, cancel, confirm):
        verb.add_argument(
            "--lock-timeout", type=_seconds, metavar="SECONDS", help="wait so long for another run to end"
        )
    options = parser.parse_args(arguments)
    options.system = system
    if len(getattr(options, "images", [])) > 2:
        parser.error("more than two images")
    return options


def _seconds(text: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return int(text)


def _take_system_type(arguments: list[str]) -> str | None:
    """Take guestos or hostos out of the words before the verb; argparse has no optional word before a subcommand."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += 2 if arguments[position] in {"-c", "--config", "-f", "--grubenv", "--disk"} else 1
    if position < len(arguments) and arguments[position] in SYSTEM_TYPES:
        return arguments.pop(position)
    return None


def _install(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import install

    _show_warnings()
    if options.sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", options.sha256):
        raise errors.UsageError("cannot run: --sha256 takes 64 hexadecimal digits", hint="manageboot --help")
    if options.sha256 is not None and len(options.images) > 1:
        raise errors.UsageError("cannot run: --sha256 is of one archive, not of two images", hint="manageboot --help")
    done = install.install(
        settings,
        options.images,
        sha256=options.sha256,
        progress=options.progress,
        skip_identical=options.skip_identical,
    )
    _say(done)


def _commit(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import verbs

    _show_warnings()
    if options.disk is not None:
        from manageboot import outside

        outside.verify(settings)
    _say(verbs.commit(settings, reboot=not options.no_reboot and options.disk is None))


def _rollback(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import verbs
    from manageboot.traces import Trial

    _show_warnings()
    _say(
        verbs.rollback(settings, reboot=not options.no_reboot and options.disk is None, because=Trial(options.because))
    )


def _cancel(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import verbs

    _show_warnings()
    _say(verbs.cancel(settings))


def _confirm(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import hold, verbs

    _show_warnings()
    if options.hold:
        _say(hold.hold(settings))
    elif options.release:
        _say(hold.release(settings))
    else:
        _say(verbs.confirm(settings))


def _daemon(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import daemon

    daemon.run(settings)


def _current(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.slots import booted_slot

    output.answer(booted_slot(settings.boot))


def _target(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.slots import booted_slot

    output.answer(booted_slot(settings.boot).other)


def _next(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import environment

    block = environment.read(settings.boot.grubenv)
    if block.state is None:
        raise block.problem or errors.BlockDamagedError(f"cannot read {block.path}")
    output.answer(block.state.next)


def _current_root(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import devices
    from manageboot.slots import booted_slot

    output.answer(devices.find(settings.slots[booted_slot(settings.boot)]["root"]))


def _target_root(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import devices
    from manageboot.slots import booted_slot

    output.answer(devices.find(settings.slots[booted_slot(settings.boot).other]["root"]))


def _status(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import status

    _show(status.collect(settings), status.render, as_json=options.json)


def _history(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import history

    _show(history.to_json(settings), history.render, as_json=options.json)


def _inspect(options: argparse.Namespace, settings: config.Config | None) -> None:
    from manageboot import inspection

    _show(inspection.inspect(settings, options.images), inspection.render, as_json=options.json)


def _doctor(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot import doctor

    report = doctor.examine(settings)
    _show(report, doctor.render, as_json=options.json)
    if not report["sound"]:
        raise errors.UnsoundError(f"cannot vouch for this node: {len(report['findings'])} findings")


def _bootloader(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.bootloader import grubcfg

    _show_warnings()
    if options.action == "show":
        output.answer(grubcfg.shipped().removesuffix("\n"))
    elif options.action == "install":
        _say(grubcfg.install(settings))
    else:
        path, differences = grubcfg.compare(settings)
        if differences:
            output.answer("\n".join(differences))
            raise errors.BootloaderError(f"cannot vouch for {path}: it is not the shipped one")
        _say(f"{path} is the shipped one")


_OUTSIDE: dict[_Handler, tuple[bool, bool]] = {
    _install: (True, True),
    _commit: (True, True),
    _cancel: (True, False),
    _rollback: (True, False),
    _inspect: (False, True),
    _doctor: (False, True),
    _status: (False, False),
    _history: (False, False),
    _current: (False, False),
    _target: (False, False),
    _next: (False, False),
}
"""What works on the disk of a stopped system: whether it writes there, and whether it needs the slots' devices."""


def _show_warnings() -> None:
    import logging

    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            output.tell(self.format(record))

    logging.addLevelName(logging.WARNING, "warning")
    logging.basicConfig(format="manageboot: %(levelname)s: %(message)s", level=logging.WARNING, handlers=[Telling()])


def _show(result: dict[str, object], render: Callable[[dict[str, object]], str], *, as_json: bool) -> None:
    import json

    output.answer(json.dumps(result, indent=2) if as_json else render(result))


def _say(message: str) -> None:
    output.tell(f"manageboot: {message}")
