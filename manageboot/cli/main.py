"""The front door: does what a command line asks for, prints, exits.

Results go to stdout, everything else to stderr. Modules are imported by the verb that uses them, so that the queries,
which callers run often, stay quick.
"""

import argparse
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress

from manageboot import config, errors
from manageboot.cli import parser
from manageboot.system import console, files, inherited, signals

_SCHEMA = 1
"""Of what the short queries print."""

_Handler = Callable[[argparse.Namespace, config.Config], None]

_DEBUG_VARIABLE = "MANAGEBOOT_DEBUG"
"""What `--debug` does, this does, too, if it is set, and neither empty nor 0."""

_OFFLINE_OPTIONS = ("slot", "keep_var", "overwrite_trusted")
"""What has no meaning without `--disk`."""


def perform(arguments: Sequence[str]) -> None:
    """Do what a command line asks for, without the program's name.

    Raises:
        ManagebootError: it can't be done.
    """
    options = parser.parse(list(arguments))
    if options.debug:
        _show_debug()
    if options.verb == "explain" and options.disk is None:
        _explain(options)
        return
    if options.verb == "bootloader" and options.action == "show" and options.disk is None:
        from manageboot.cli import bootloader

        _answer(options, "grub_cfg", bootloader.shipped())
        return
    if options.verb in {"init", "release"}:
        from manageboot.cli import init, release

        _show_warnings()
        (init if options.verb == "init" else release).perform(options)
        return
    if options.disk is not None:
        from manageboot.cli import offline

        _show_warnings()
        with offline.opened(options) as settings:
            _HANDLERS[options.verb](options, settings)
        return
    for option in _OFFLINE_OPTIONS:
        if getattr(options, option, None):
            raise errors.UsageError(f"cannot run: --{option.replace('_', '-')} has no meaning without --disk")
    if options.verb == "inspect" and not config.exists(options.config, profile=options.system):
        # An image is looked at where it is built as well.
        _inspect(options, None)
        return
    _HANDLERS[options.verb](options, _settings(options))


_perform = perform  # an argument of `run` has that name


def settings_of(arguments: Sequence[str]) -> config.Config:
    """Load the settings that a command line would be carried out with.

    Raises:
        ConfigError, NotPermittedError: they can't be had.
        UsageError: it asks for nothing that there is.
    """
    return _settings(parser.parse(list(arguments)))


def _settings(options: argparse.Namespace) -> config.Config:
    return config.load(
        options.config,
        profile=options.system,
        grubenv=None if options.grubenv is None else files.absolute(options.grubenv),
        lock_timeout_s=getattr(options, "lock_timeout", None),
    )


def run(arguments: Sequence[str], perform: Callable[[Sequence[str]], None] | None = None) -> int:
    """Run a command line, print what goes wrong, and return the exit status.

    Args:
        arguments: the command line, without the program's name.
        perform: does what it asks for, where another front door has words of its own; then no answer is JSON.
    """
    # Asked of the words: a command line that makes no sense is answered as well.
    as_json = perform is None and "--json" in arguments
    try:
        return _run(arguments, perform or _perform, as_json=as_json)
    # Also where they come while an error is being printed.
    except KeyboardInterrupt:
        return _ended("interrupted", 130, as_json=as_json)
    except signals.Terminated:
        return _ended("terminated", 143, as_json=as_json)


def _run(arguments: Sequence[str], perform: Callable[[Sequence[str]], None], *, as_json: bool) -> int:
    try:
        inherited.set_right()
        if os.environ.get(_DEBUG_VARIABLE, "0") not in {"", "0"}:
            _show_debug()
        perform(arguments)
    except errors.ManagebootError as error:
        return _report(error, as_json=as_json)
    except Exception as error:  # noqa: BLE001  the last resort: one line, like every other error
        return _report(errors.of_the_system(error) or _bug(error), as_json=as_json)
    return 0


def _report(error: errors.ManagebootError, *, as_json: bool) -> int:
    console.tell(f"manageboot: error: {error} [{error.code}]")
    if error.hint:
        console.tell(f"hint: {error.hint}")
    if as_json:
        # Where nothing is left to load a module with, the exit status has to do.
        with suppress(ImportError, MemoryError, OSError):
            from manageboot.cli import answer

            answer.failed(error)
    return error.exit_code


def _ended(how: str, exit_status: int, *, as_json: bool) -> int:
    _say(how)
    if as_json:
        from manageboot.cli import answer

        answer.ended(how.upper(), exit_status)
    return exit_status


def _bug(error: Exception) -> errors.ManagebootError:
    import traceback

    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(place.filename)}:{place.lineno}"
    return errors.ManagebootError(
        f"cannot go on: {type(error).__name__}: {error} ({where})", hint="this is a bug in manageboot; please report it"
    )


def _install(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.cli import releases
    from manageboot.install import install

    _show_warnings()
    if options.sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", options.sha256):
        raise errors.UsageError("cannot run: --sha256 takes 64 hexadecimal digits", hint="manageboot --help")
    if options.sha256 is not None and len(options.images) > 1:
        raise errors.UsageError("cannot run: --sha256 is for one archive, not for two images", hint="manageboot --help")
    done = install.install(
        settings,
        options.images,
        sha256=options.sha256,
        progress=options.progress,
        skip_identical=options.skip_identical,
        release=releases.wanted(options),
    )
    _tell_done(options, settings, done)


def _commit(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.upgrade import verbs

    _show_warnings()
    done = verbs.commit(settings, reboot=not options.no_reboot and options.disk is None)
    _tell_done(options, settings, done)


def _rollback(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot.markers import TrialMarker
    from manageboot.upgrade import verbs

    _show_warnings()
    reboot = not options.no_reboot and options.disk is None
    done = verbs.rollback(settings, reboot=reboot, because=TrialMarker(options.because))
    _tell_done(options, settings, done)


def _cancel(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.upgrade import verbs

    _show_warnings()
    _tell_done(options, settings, verbs.cancel(settings))


def _confirm(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.upgrade import inhibit, verbs

    _show_warnings()
    if options.hold:
        done = inhibit.take(settings)
    elif options.release:
        done = inhibit.release(settings)
    else:
        done = verbs.confirm(settings)
    _tell_done(options, settings, done)


def _daemon(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.daemon import daemon

    daemon.run(settings)


def _current(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot.cmdline import booted_slot

    _answer(options, "slot", booted_slot(settings.boot))


def _target(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot.cmdline import booted_slot

    _answer(options, "slot", booted_slot(settings.boot).other)


def _next(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot import envblock

    _answer(options, "slot", envblock.stated(envblock.read(settings.boot.grubenv)).next)


def _current_root(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot.cmdline import booted_slot
    from manageboot.disk import devices

    _answer(options, "device", devices.find(settings.slots[booted_slot(settings.boot)]["root"]))


def _target_root(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot.cmdline import booted_slot
    from manageboot.disk import devices

    _answer(options, "device", devices.find(settings.slots[booted_slot(settings.boot).other]["root"]))


def _status(options: argparse.Namespace, settings: config.Config) -> None:
    if options.watch:
        from manageboot.report import watch

        watch.watch(settings)
        return
    from manageboot.report import status

    found = status.collect(settings)
    if options.json:
        _show_json(found)
        return
    from manageboot.report import page
    from manageboot.system import terminal

    console.answer(page.render(found, terminal.screen()), painted=True)


def _history(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.events import history

    _show(history.to_json(settings), history.render, as_json=options.json)


def _inspect(options: argparse.Namespace, settings: config.Config | None) -> None:
    from manageboot.report import inspection

    _show(inspection.inspect(settings, options.images), inspection.render, as_json=options.json)


def _check(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.report import offers

    _show_warnings()
    _show(offers.collect(settings, options.directory), offers.render, as_json=options.json)


def _doctor(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.report import doctor

    report = doctor.examine(settings)
    if report["sound"] or not options.json:
        _show(report, doctor.render, as_json=options.json)
    if not report["sound"]:
        count = len(report["findings"])
        error = errors.UnsoundError(f"cannot rely on the boot chain: it has {count} fault{'s' if count > 1 else ''}")
        error.found = report
        raise error


def _explain(options: argparse.Namespace) -> None:
    """Explain a code word, which needs no settings."""
    from manageboot.cli import explain

    _answer(options, "text", explain.overview() if options.word is None else explain.explain(options.word))


def _bootloader(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.cli import bootloader

    _show_warnings()
    _tell_done(options, settings, bootloader.perform(options, settings))


def _update(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.cli import update

    _show_warnings()
    update.perform(options, settings)


_HANDLERS: dict[str, _Handler] = {
    "upgrade-install": _install,
    "upgrade-commit": _commit,
    "rollback": _rollback,
    "upgrade-cancel": _cancel,
    "confirm": _confirm,
    "daemon": _daemon,
    "current": _current,
    "target": _target,
    "next": _next,
    "current-root": _current_root,
    "target-root": _target_root,
    "status": _status,
    "history": _history,
    "inspect": _inspect,
    "check": _check,
    "doctor": _doctor,
    "bootloader": _bootloader,
    "update": _update,
}


def _show_debug() -> None:
    from manageboot.system import debug

    debug.begin()


def _show_warnings() -> None:
    from manageboot.cli import warned

    warned.show()


def _show(result: dict[str, object], render: Callable[[dict[str, object]], str], *, as_json: bool) -> None:
    if as_json:
        _show_json(result)
    else:
        console.answer(render(result))


def _show_json(result: dict[str, object]) -> None:
    from manageboot.cli import answer

    answer.show(result)


def _answer(options: argparse.Namespace, key: str, value: str) -> None:
    """Print what a short query found."""
    if options.json:
        _show_json({"schema": _SCHEMA, "verb": options.verb, key: value})
    else:
        console.answer(value)


def _tell_done(options: argparse.Namespace, settings: config.Config, done: str) -> None:
    """Print what a verb has done: a message, and with --json a result as well."""
    _say(done)
    if options.json:
        from manageboot.cli import answer

        answer.done(options.verb, done, settings)


def _say(message: str) -> None:
    console.tell(f"manageboot: {message}")
