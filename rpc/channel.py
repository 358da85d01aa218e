"""A connection to an agent: the handshake, and frames, protected where there is a key.

``docs/reference/device-protocol.md`` describes both. Only what has a key needs ``cryptography``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from armlet.errors import (
    DeviceBusyError,
    DeviceConnectionError,
    DeviceError,
    DeviceKeyError,
    DeviceProtocolError,
    DeviceTimeoutError,
    SettingError,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

MAGIC, VERSION, KEYED = b"ALDP", 1, 1
KEY_BYTES = 32
MESSAGE_BYTES = (1 << 20) + 1024
SEAL_BYTES = 16
#: bytes that are copied more quickly than a packet is sent
_SMALL = 16 << 10
#: seconds for connecting and the handshake
PATIENCE = 5.0
#: seconds between attempts, at first and at most
BACK_OFF = (0.05, 1.0)
_HELLO = struct.Struct("<4sHH32s")
_ACCEPTED, _OTHER_VERSION, _KEY_NEEDED, _NO_KEY, _TOO_MANY = range(5)


def read_key(path: Path) -> bytes:
    """The key in a file, as ``write_key`` makes it."""
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise SettingError(f"the key cannot be read: {reason}", where=str(path)) from error
    if not re.fullmatch(f"[0-9a-fA-F]{{{2 * KEY_BYTES}}}", text):
        raise SettingError(
            f"a key is {2 * KEY_BYTES} hexadecimal digits, which this file is not",
            where=str(path),
            way_out=f"make one: armlet device key {path}",
        )
    return bytes.fromhex(text)


def write_key(path: Path) -> None:
    """A new key, which only this user may read; a file that exists is left alone."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingError(f"the key cannot be written: {reason}", where=str(path)) from error
    with os.fdopen(file, "w") as opened:
        opened.write(os.urandom(KEY_BYTES).hex() + "\n")


class Channel:
    """Messages both ways. ``where`` is what errors call the device."""

    def __init__(self, connection: socket.socket, key: bytes | None, where: str) -> None:
        self.where = where
        self._socket = connection
        self._frame = bytearray(4 + MESSAGE_BYTES + SEAL_BYTES)
        self._seal: Callable[[bytes, bytes], bytes] | None = None
        self._open: Callable[[memoryview, bytes], bytes | memoryview] = lambda data, length: data
        self._overhead = 0
        try:
            connection.settimeout(PATIENCE)
            if key is None:
                self._hello(bytes(32), flags=0)
            else:
                self._agree(key)
        except BaseException:
            self.close()
            raise

    def send(self, message: bytes, seconds: float, more: memoryview | None = None) -> None:
        """Sends a message, which goes on with ``more``, within so many seconds."""
        size = len(message) + (len(more) if more else 0)
        length = struct.pack("<I", size + self._overhead)
        with self._errors(seconds):
            if self._seal is None:
                self._send_all(length + message, more or memoryview(b""))
            else:
                whole = b"".join((message, more)) if more else message
                self._send_all(length, memoryview(self._seal(whole, length)))

    def _send_all(self, first: bytes, second: memoryview) -> None:
        """Small messages in one packet, large ones without copying them."""
        if len(second) < _SMALL:
            self._socket.sendall(first + second)
        else:
            self._socket.sendall(first)
            self._socket.sendall(second)

    def receive(self, seconds: float) -> bytes | memoryview:
        """The next message, which the next call may overwrite."""
        with self._errors(seconds):
            length = self._read(4)
            (size,) = struct.unpack("<I", length)
            if not self._overhead <= size <= MESSAGE_BYTES + self._overhead:
                raise self._broken(f"it sends a frame of {size} bytes")
            kept = bytes(length)
            return self._open(self._read(size), kept)

    def finish(self) -> None:
        """Nothing more is sent; what is on its way is still received."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        # which wakes another thread that waits for an answer; closing alone does not
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    # ---- the handshake

    def _hello(self, public: bytes, flags: int) -> tuple[bytes, bytes]:
        """Both hellos, once the agent has accepted."""
        sent = _HELLO.pack(MAGIC, VERSION, flags, public)
        with self._errors(PATIENCE):
            self._socket.sendall(sent)
            received = bytes(self._read(_HELLO.size))
        magic, version, answer, _ = _HELLO.unpack(received)
        if magic != MAGIC:
            raise self._broken("what answers there is no armlet agent")
        if answer != _ACCEPTED:
            raise self._declined(answer, version)
        return sent, received

    def _declined(self, answer: int, version: int) -> DeviceError:
        if answer == _KEY_NEEDED:
            what, way_out = "the agent demands a key", "add the device with --key FILE"
            return DeviceKeyError(what, where=self.where, way_out=way_out)
        if answer == _NO_KEY:
            what = "the agent was started without a key"
            way_out = "start it with --key FILE, or add the device without"
            return DeviceKeyError(what, where=self.where, way_out=way_out)
        if answer == _TOO_MANY:
            return DeviceBusyError("the agent has too many connections", where=self.where)
        what = f"the agent speaks version {version} of the protocol, and {VERSION} is needed"
        if answer != _OTHER_VERSION:
            what = f"the agent declines for reason {answer}, which is unknown"
        way_out = "put this version's agent there: armlet device deploy-agent"
        return DeviceProtocolError(what, where=self.where, way_out=way_out)

    def _agree(self, key: bytes) -> None:
        """Keys of this connection, which both prove to have got from ``key``."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        secret = X25519PrivateKey.generate()
        sent, received = self._hello(secret.public_key().public_bytes_raw(), KEYED)
        transcript = hashlib.sha256(sent + received).digest()
        to_agent, to_host, agents, hosts = self._derive(key, secret, received[8:], transcript)
        with self._errors(PATIENCE):
            proof = bytes(self._read(32))
        right = hmac.digest(agents, transcript, "sha256")
        if not hmac.compare_digest(proof, right):
            what = "the agent's key is another than this machine's"
            way_out = "give both the same key file: armlet device add NAME … --key FILE"
            raise DeviceKeyError(what, where=self.where, way_out=way_out)
        with self._errors(PATIENCE):
            self._socket.sendall(hmac.digest(hosts, transcript, "sha256"))
        self._protect(to_agent, to_host)

    def _derive(
        self, key: bytes, secret: X25519PrivateKey, theirs: bytes, transcript: bytes
    ) -> tuple[bytes, ...]:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        try:
            shared = secret.exchange(X25519PublicKey.from_public_bytes(theirs))
        except ValueError as error:  # the secret would be zero
            raise self._broken("its part of the key exchange is degenerate") from error
        info = b"armlet device protocol 1" + transcript
        derived = HKDF(SHA256(), 4 * KEY_BYTES, key, info).derive(shared)
        return tuple(derived[i : i + KEY_BYTES] for i in range(0, len(derived), KEY_BYTES))

    def _protect(self, to_agent: bytes, to_host: bytes) -> None:
        """Seals and opens every frame from now on."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        sealing, opening = ChaCha20Poly1305(to_agent), ChaCha20Poly1305(to_host)
        sent = received = 0

        def seal(data: bytes, length: bytes) -> bytes:
            nonlocal sent
            nonce, sent = struct.pack("<IQ", 0, sent), sent + 1
            return sealing.encrypt(nonce, data, length)

        def open(data: memoryview, length: bytes) -> bytes:
            nonlocal received
            nonce, received = struct.pack("<IQ", 0, received), received + 1
            try:
                return opening.decrypt(nonce, data, length)
            except InvalidTag:
                raise self._broken("a message was changed on its way") from None

        self._seal, self._open, self._overhead = seal, open, SEAL_BYTES

    # ---- the socket

    def _read(self, size: int) -> memoryview:
        view, at = memoryview(self._frame)[:size], 0
        while at < size:
            count = self._socket.recv_into(view[at:])
            if not count:
                raise ConnectionResetError(errno.ECONNRESET, "it was closed by the other side")
            at += count
        return view

    @contextlib.contextmanager
    def _errors(self, seconds: float) -> Iterator[None]:
        """What goes wrong with the socket, in a sentence; the channel is of no use then."""
        if self._socket.fileno() < 0:
            raise DeviceConnectionError("the connection is closed", where=self.where)
        try:
            self._socket.settimeout(max(seconds, 0.001))
            yield
        except TimeoutError as error:
            self.close()
            raise DeviceTimeoutError(
                f"the device did not answer for {seconds:.3g} s",
                where=self.where,
                way_out="see whether it is awake and its agent runs: armlet device doctor",
            ) from error
        except OSError as error:
            self.close()
            raise DeviceConnectionError(
                f"the connection broke: {(error.strerror or str(error)).lower()}",
                where=self.where,
                way_out="see whether the device's agent runs: armlet device doctor",
            ) from error

    def _broken(self, what: str) -> DeviceProtocolError:
        self.close()
        return DeviceProtocolError(what, where=self.where, way_out="armlet device doctor")


def reach(
    dial: Callable[[], socket.socket],
    key: bytes | None = None,
    *,
    where: str,
    patience: float = 5.0,
    complaint: Callable[[], str] = str,
) -> Channel:
    """A channel over what ``dial`` connects, tried for ``patience`` seconds, as agents may start.

    ``complaint`` tells why a connection may have ended at once, if anybody knows.
    """
    until, pause = time.monotonic() + patience, BACK_OFF[0]
    while True:
        try:
            return Channel(dial(), key, where)
        except (DeviceConnectionError, DeviceBusyError) as error:
            if time.monotonic() + pause > until:
                raise type(error)(
                    complaint() or error.what, where=where, way_out=error.way_out
                ) from error
        time.sleep(pause)
        pause = min(2 * pause, BACK_OFF[1])


def connect(
    host: str, port: int, key: bytes | None = None, *, where: str = "", patience: float = 5.0
) -> Channel:
    """As ``reach``, over a network."""
    where = where or f"{host}:{port}"
    return reach(lambda: dial_tcp(host, port), key, where=where, patience=patience)


def dial_tcp(host: str, port: int) -> socket.socket:
    try:
        connection = socket.create_connection((host, port), PATIENCE)
    except OSError as error:
        raise DeviceConnectionError(
            f"nothing answers at {host}:{port}: {(error.strerror or str(error)).lower()}",
            way_out="start the agent there: armlet device deploy-agent, or armlet device serve",
        ) from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connection
