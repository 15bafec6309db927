"""What systemd is told, where it listens and where it does not."""

import socket
from pathlib import Path

import pytest

from manageboot.daemon import notify
from support.deaf import drain, fill

pytest.importorskip("systemd")


def test_systemd_hears_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify.ready()
        assert listener.recv(100) == b"READY=1"


def test_a_systemd_that_does_not_listen_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        fill(str(tmp_path / "notify"))
        notify.ready()
        drain(listener)
        # Once it listens again, it hears what it missed.
        notify.alive()
        assert listener.recv(100) == b"READY=1\nWATCHDOG=1"


def test_a_socket_that_is_gone_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "there-is-none"))
    notify.status("alive all the same")


@pytest.mark.parametrize(
    ("status", "heard"),
    [
        ("check pr\udcfcfung\nREADY=0", rb"STATUS=check pr\xfcfung\x0aREADY=0"),
        ("\N{GRINNING FACE}" * 5000, b"STATUS=" + "\N{GRINNING FACE}".encode() * 900 + b"..."),
    ],
)
def test_systemd_takes_any_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, heard: bytes):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify.status(status)
        assert listener.recv(1 << 16) == heard
