"""The front door: does what a command line asks for, prints, exits.

Results go to stdout, everything else to stderr. Modules are imported by the verb that uses them, so that the queries,
which callers run often, stay quick.
"""

import argparse
import os
import re
from collections.abc import Callable, Sequence

from manageboot import config, errors
from manageboot.cli import parser
from manageboot.system import console, files, inherited, signals, text

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
        _explain(options.word)
        return
    if options.verb == "init":
        from manageboot.cli import init

        _show_warnings()
        init.perform(options)
        return
    if options.verb == "release":
        from manageboot.cli import release

        _show_warnings()
        release.perform(options)
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


def run(arguments: Sequence[str], perform: Callable[[Sequence[str]], None] = perform) -> int:
    """Run a command line, print what goes wrong, and return the exit status.

    Args:
        arguments: the command line, without the program's name.
        perform: does what it asks for; another front door has words of its own.
    """
    try:
        return _run(arguments, perform)
    # Also where they come while an error is being printed.
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except signals.Terminated:
        _say("terminated")
        return 143


def _run(arguments: Sequence[str], perform: Callable[[Sequence[str]], None]) -> int:
    try:
        inherited.set_right()
        if os.environ.get(_DEBUG_VARIABLE, "0") not in {"", "0"}:
            _show_debug()
        perform(arguments)
    except errors.ManagebootError as error:
        return _report(error)
    except Exception as error:  # noqa: BLE001  the last resort: one line, like every other error
        return _report(errors.of_the_system(error) or _bug(error))
    return 0


def _report(error: errors.ManagebootError) -> int:
    console.tell(f"manageboot: error: {error} [{error.code}]")
    if error.hint:
        console.tell(f"hint: {error.hint}")
    return error.exit_code


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
    _say(done)


def _commit(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.upgrade import verbs

    _show_warnings()
    _say(verbs.commit(settings, reboot=not options.no_reboot and options.disk is None))


def _rollback(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot.markers import TrialMarker
    from manageboot.upgrade import verbs

    _show_warnings()
    _say(
        verbs.rollback(
            settings, reboot=not options.no_reboot and options.disk is None, because=TrialMarker(options.because)
        )
    )


def _cancel(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.upgrade import verbs

    _show_warnings()
    _say(verbs.cancel(settings))


def _confirm(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.upgrade import inhibit, verbs

    _show_warnings()
    if options.hold:
        _say(inhibit.take(settings))
    elif options.release:
        _say(inhibit.release(settings))
    else:
        _say(verbs.confirm(settings))


def _daemon(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.daemon import daemon

    daemon.run(settings)


def _current(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot.cmdline import booted_slot

    console.answer(booted_slot(settings.boot))


def _target(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot.cmdline import booted_slot

    console.answer(booted_slot(settings.boot).other)


def _next(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot import envblock

    console.answer(envblock.stated(envblock.read(settings.boot.grubenv)).next)


def _current_root(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot.cmdline import booted_slot
    from manageboot.disk import devices

    console.answer(devices.find(settings.slots[booted_slot(settings.boot)]["root"]))


def _target_root(_options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.boot.cmdline import booted_slot
    from manageboot.disk import devices

    console.answer(devices.find(settings.slots[booted_slot(settings.boot).other]["root"]))


def _status(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.report import status

    _show(status.collect(settings), status.render, as_json=options.json)


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
    _show(report, doctor.render, as_json=options.json)
    if not report["sound"]:
        count = len(report["findings"])
        raise errors.UnsoundError(f"cannot rely on the boot chain: it has {count} fault{'s' if count > 1 else ''}")


def _explain(word: str | None) -> None:
    """Explain a code word, which needs no settings."""
    from manageboot.cli import explain

    console.answer(explain.overview() if word is None else explain.explain(word))


def _bootloader(options: argparse.Namespace, settings: config.Config) -> None:
    from manageboot.bootloader import grubcfg

    _show_warnings()
    if options.action == "show":
        console.answer(grubcfg.shipped().removesuffix("\n"))
    elif options.action == "install":
        _say(grubcfg.install(settings))
    else:
        path, differences = grubcfg.compare(settings)
        if differences:
            console.answer("\n".join(differences))
            raise errors.BootloaderError(
                f"cannot accept {path}: it is not the shipped one", hint="manageboot bootloader install"
            )
        grubcfg.check_modules(settings, f"accept {path}")
        _say(f"{path} is the shipped one")


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
}


def _show_debug() -> None:
    from manageboot.system import debug

    debug.begin()


def _show_warnings() -> None:
    import logging

    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.tell(self.format(record))

    logging.addLevelName(logging.WARNING, "warning")
    logging.basicConfig(format="manageboot: %(levelname)s: %(message)s", level=logging.WARNING, handlers=[Telling()])


def _show(result: dict[str, object], render: Callable[[dict[str, object]], str], *, as_json: bool) -> None:
    import json

    console.answer(json.dumps(text.encodable_all(result), indent=2) if as_json else render(result))


def _say(message: str) -> None:
    console.tell(f"manageboot: {message}")
