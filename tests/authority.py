"""A certificate authority of a test's own, which signs for 127.0.0.1."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_GOOD_FOR: Final = timedelta(days=1)


class Authority:
    """Makes certificates and keys as files in PEM."""

    def __init__(self, folder: Path) -> None:
        """Make its own certificate, `ca.pem`, in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = _named("the authority of a test")
        made = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, 0), critical=True)
        self.certificate = folder / "ca.pem"
        self._write(self.certificate, made)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return a certificate for 127.0.0.1, good for a server and for a client, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        where = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        made = self._builder(_named(name), key).add_extension(where, critical=False)
        certificate, private = self._folder / f"{name}.pem", self._folder / f"{name}-key.pem"
        self._write(certificate, made.add_extension(usages, critical=False))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, private

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _GOOD_FOR)
            .not_valid_after(now + _GOOD_FOR)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(of_issuer, critical=False)
        )

    def _write(self, path: Path, made: x509.CertificateBuilder) -> None:
        path.write_bytes(made.sign(self._key, SHA256()).public_bytes(Encoding.PEM))


def _named(name: str) -> x509.Name:
    """Return a name without a common one: etcd that wants passwords refuses HTTP of a client that has one.

    https://github.com/etcd-io/etcd/pull/10392
    """
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
