"""A repository of signed releases, made by python-tuf's Metadata API; a test may break any part of it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from support.releases import Small

ROLES = ("root", "targets", "snapshot", "timestamp")


class Repository:
    """Keys and metadata; `publish` writes what they say now."""

    def __init__(self, directory: Path, *, thresholds: Mapping[str, int] = MappingProxyType({})) -> None:
        """Begin with as many keys for each role as have to sign: 2 for root, else 1."""
        self.directory = directory
        self.thresholds = dict.fromkeys(ROLES, 1) | {"root": 2, **thresholds}
        self.keys = {role: [CryptoSigner.generate_ed25519() for _ in range(self.thresholds[role])] for role in ROLES}
        self.targets: dict[str, bytes] = {}
        self.custom: dict[str, Any] = {}
        """What is signed beside the digest of a target, by its path."""
        self.expires = {role: datetime.now(UTC).replace(microsecond=0) + timedelta(days=30) for role in ROLES}
        self.version = 0
        self.root_version = 0
        (directory / "metadata").mkdir(parents=True)
        self.rotate()

    def rotate(self, signers: Sequence[CryptoSigner] = ()) -> None:
        """Publish a root with the keys of now; `signers` sign it, too, as those of the old root have to."""
        self.root_version += 1
        root = Root(version=self.root_version, expires=self.expires["root"], consistent_snapshot=True)
        for role, keys in self.keys.items():
            for key in keys:
                root.add_key(key.public_key, role)
            root.roles[role].threshold = self.thresholds[role]
        self.write(f"{root.version}.root.json", self.signed(root, [*self.keys["root"], *signers]))

    def add(self, release: Small, version: str) -> None:
        """Put a release there, to be named by the metadata from the next `publish` on."""
        release.write(self.directory / version)
        self.targets[f"{version}/release.json"] = release.description

    def publish(self) -> None:
        """Sign what is there, with versions that are one higher."""
        self.version += 1
        targets = Targets(version=self.version, expires=self.expires["targets"])
        for path, content in self.targets.items():
            targets.targets[path] = TargetFile.from_data(path, content)
            if path in self.custom:
                targets.targets[path].unrecognized_fields["custom"] = self.custom[path]
        targets_bytes = self.signed(targets, self.keys["targets"])
        snapshot = Snapshot(version=self.version, expires=self.expires["snapshot"])
        snapshot.meta["targets.json"] = MetaFile.from_data(self.version, targets_bytes, ["sha256"])
        snapshot_bytes = self.signed(snapshot, self.keys["snapshot"])
        timestamp = Timestamp(version=self.version, expires=self.expires["timestamp"])
        timestamp.snapshot_meta = MetaFile.from_data(self.version, snapshot_bytes, ["sha256"])
        self.write(f"{self.version}.targets.json", targets_bytes)
        self.write(f"{self.version}.snapshot.json", snapshot_bytes)
        self.write("timestamp.json", self.signed(timestamp, self.keys["timestamp"]))

    def files(self) -> list[Path]:
        """The metadata that counts now."""
        names = ("timestamp.json", f"{self.version}.snapshot.json", f"{self.version}.targets.json")
        return [self.directory / "metadata" / name for name in names]

    @property
    def root_path(self) -> Path:
        """The newest root."""
        return self.directory / "metadata" / f"{self.root_version}.root.json"

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the metadata."""
        (self.directory / "metadata" / name).write_bytes(content)

    @staticmethod
    def signed(signed: Any, signers: Sequence[CryptoSigner]) -> bytes:
        """Sign metadata."""
        metadata: Metadata[Any] = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()
