"""Certificates of the tests' own, by openssl."""

import subprocess
from pathlib import Path
from typing import NamedTuple

_CONFIGURATION = """\
[ca]
default_ca = tests
[tests]
database = index.txt
new_certs_dir = .
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
copy_extensions = copy
email_in_dn = no
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
"""


class Certificate(NamedTuple):
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """Whoever signs them; `certificate` is what to trust."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir()
        (directory / "index.txt").touch()
        (directory / "ca.cnf").write_text(_CONFIGURATION)
        self._openssl("req", "-x509", *self._new("ca"), "-subj", "/CN=Tests", "-days", "30", "-out", "ca.pem")
        self.certificate = directory / "ca.pem"

    def sign(
        self, name: str, *, names: str = "IP:127.0.0.1,DNS:localhost", start: str = "", end: str = ""
    ) -> Certificate:
        """Make a certificate.

        Args:
            name: of the files.
            names: whom it is for.
            start: when its time begins, YYYYMMDDHHMMSSZ; now, if nothing else is said.
            end: when its time ends.
        """
        request = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={names}", "-out", f"{name}.csr")
        self._openssl("req", *self._new(name), *request)
        times = ("-startdate", start, "-enddate", end) if start else ("-days", "30")
        signer = ("-cert", "ca.pem", "-keyfile", "ca.key")
        self._openssl("ca", "-batch", *signer, "-in", f"{name}.csr", "-out", f"{name}.pem", "-notext", *times)
        return Certificate(self._directory / f"{name}.pem", self._directory / f"{name}.key")

    def _new(self, name: str) -> tuple[str, ...]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")

    def _openssl(self, verb: str, *arguments: str) -> None:
        command = ["openssl", verb, "-config", "ca.cnf", *arguments]
        done = subprocess.run(command, cwd=self._directory, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
