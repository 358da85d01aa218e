"""A small agent in Python: the protocol from the other side, independent of armlet's code.

It answers what ``answers`` says for each request; tests cut, change and delay its messages.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import socket
import struct
import threading
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: (kind, status, fields) of each message that answers a request
Answer = list[tuple[int, int, bytes]]


def done(fields: bytes = b"", status: int = 0, reason: str = "") -> tuple[int, int, bytes]:
    return 2, status, struct.pack("<I", len(reason)) + reason.encode() + fields


def part(fields: bytes) -> tuple[int, int, bytes]:
    return 1, 0, fields


def text(words: str) -> bytes:
    return struct.pack("<I", len(words)) + words.encode()


class Stub:
    """Serves connections until it is closed; ``seen`` is every request's (code, fields)."""

    def __init__(self, key: bytes | None = None, refuses: int = 0) -> None:
        self.key, self.refuses = key, refuses
        self.answers: dict[int, Callable[[bytes], Answer]] = {1: lambda _: [done(text("{}"))]}
        self.seen: list[tuple[int, bytes]] = []
        #: changes a frame before it is sent
        self.spoil: Callable[[bytes], bytes] = lambda frame: frame
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(EOFError, OSError, ValueError):
            self._speak(connection)

    def _speak(self, connection: socket.socket) -> None:
        seal, unseal = self._handshake(connection)
        while True:
            length = _read(connection, 4)
            message = unseal(_read(connection, *struct.unpack("<I", length)), length)
            code, _, number = struct.unpack("<HHI", message[:8])
            self.seen.append((code, message[8:]))
            for kind, status, fields in self.answers[code](message[8:]):
                frame = seal(struct.pack("<HHI", kind, status, number) + fields)
                connection.sendall(self.spoil(frame))

    def _handshake(self, connection: socket.socket) -> tuple[Callable, Callable]:
        first = _read(connection, 40)
        assert first[:6] == b"ALDP\1\0"
        keyed = first[6] == 1
        answer = self.refuses or (0 if keyed == bool(self.key) else 2 if self.key else 3)
        secret = X25519PrivateKey.generate()
        public = secret.public_key().public_bytes_raw() if keyed and not answer else bytes(32)
        second = struct.pack("<4sHH", b"ALDP", 1, answer) + public
        connection.sendall(second)
        if answer:
            raise EOFError
        if not keyed:
            return lambda m: struct.pack("<I", len(m)) + m, lambda m, length: m
        transcript = hashlib.sha256(first + second).digest()
        shared = secret.exchange(X25519PublicKey.from_public_bytes(first[8:]))
        info = b"armlet device protocol 1" + transcript
        all = HKDF(SHA256(), 128, self.key, info).derive(shared)
        connection.sendall(hmac.digest(all[64:96], transcript, "sha256"))
        if _read(connection, 32) != hmac.digest(all[96:], transcript, "sha256"):
            raise EOFError
        return _sealing(all[32:64]), _opening(all[:32])


def _sealing(key: bytes) -> Callable[[bytes], bytes]:
    cipher, count = ChaCha20Poly1305(key), iter(range(1 << 32))

    def seal(message: bytes) -> bytes:
        length = struct.pack("<I", len(message) + 16)
        return length + cipher.encrypt(struct.pack("<4xQ", next(count)), message, length)

    return seal


def _opening(key: bytes) -> Callable[[bytes, bytes], bytes]:
    cipher, count = ChaCha20Poly1305(key), iter(range(1 << 32))
    return lambda data, length: cipher.decrypt(struct.pack("<4xQ", next(count)), data, length)


def _read(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise EOFError
        found += more
    return found
