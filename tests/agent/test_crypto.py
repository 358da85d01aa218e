"""The primitives: known answers of their RFCs, and Python's `cryptography` on random data."""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import os
import subprocess

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from armlet.compiler.link import agent, runtime

from ..runtime import tiny
from .agents import CC, NEEDS_CC

pytestmark = NEEDS_CC
unhex = bytes.fromhex


@pytest.fixture(scope="module", params=["plain", "chosen"])
def crypto(request, tmp_path_factory):
    """As any processor has it, and as this one does."""
    folder = tmp_path_factory.mktemp("crypto")
    objects = agent.compile_cryptography(tiny.TRIPLE, folder)
    (folder / "none.c").write_text("#include <cpu.h>\nbool cpu_has(const char *n) { return !n; }\n")
    has = {"plain": folder / "none.c", "chosen": runtime.SOURCES / "cpu_x86.c"}[request.param]
    files = [agent.SOURCES / "crypto.c", has, *objects]
    library = folder / "crypto.so"
    command = [CC, "-shared", "-fPIC", f"-I{runtime.SOURCES}", *files, "-o", library]
    subprocess.run([str(part) for part in command], check=True)
    return ctypes.CDLL(str(library))


def size(data: bytes) -> ctypes.c_size_t:
    return ctypes.c_size_t(len(data))


def seal(crypto, data: bytes, extra: bytes, nonce: bytes, key: bytes) -> bytes:
    buffer = ctypes.create_string_buffer(data, len(data) + 16)
    crypto.crypto_seal(buffer, size(data), extra, size(extra), nonce, key)
    return buffer.raw


def open_sealed(crypto, data: bytes, extra: bytes, nonce: bytes, key: bytes) -> bytes | None:
    buffer = ctypes.create_string_buffer(data, max(len(data), 1))
    crypto.crypto_open.restype = ctypes.c_bool
    right = crypto.crypto_open(buffer, size(data), extra, size(extra), nonce, key)
    return buffer.raw[: len(data) - 16] if right else None


def out(function, length: int, *arguments) -> bytes:
    buffer = ctypes.create_string_buffer(length)
    function(buffer, *arguments)
    return buffer.raw


def test_chacha20_poly1305_gives_the_rfc_s_answer(crypto):
    """RFC 8439, section 2.8.2."""
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
        b"future, sunscreen would be it."
    )
    key, nonce = bytes(range(0x80, 0xA0)), unhex("070000004041424344454647")
    extra = unhex("50515253c0c1c2c3c4c5c6c7")
    sealed = seal(crypto, text, extra, nonce, key)
    assert sealed[:16] == unhex("d31a8d34648e60db7b86afbc53ef7ec2")
    assert sealed[-16:] == unhex("1ae10b594f09e26a7e902ecbd0600691")
    assert open_sealed(crypto, sealed, extra, nonce, key) == text


def test_it_agrees_with_cryptography_at_every_length_and_notices_changes(crypto):
    for length in [*range(200), 1023, 4096, 65_537, (1 << 20) + 1008]:
        data, extra = os.urandom(length), os.urandom(4)
        key, nonce = os.urandom(32), os.urandom(12)
        sealed = seal(crypto, data, extra, nonce, key)
        assert sealed == ChaCha20Poly1305(key).encrypt(nonce, data, extra)
        assert open_sealed(crypto, sealed, extra, nonce, key) == data
        at = int.from_bytes(os.urandom(4), "little") % len(sealed)
        changed = sealed[:at] + bytes([sealed[at] ^ 0x40]) + sealed[at + 1 :]
        assert open_sealed(crypto, changed, extra, nonce, key) is None
        with pytest.raises(InvalidTag):
            ChaCha20Poly1305(key).decrypt(nonce, changed, extra)
        assert open_sealed(crypto, sealed, b"else", nonce, key) is None
    assert open_sealed(crypto, bytes(15), b"", bytes(12), bytes(32)) is None


def test_x25519_gives_the_rfc_s_answers(crypto):
    """RFC 7748, sections 5.2 and 6.1."""
    crypto.crypto_shared.restype = ctypes.c_bool
    scalar = unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    expected = unhex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    assert out(crypto.crypto_shared, 32, scalar, point) == expected
    bob = unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    public = unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    alice = unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    shared = unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert out(crypto.crypto_public, 32, bob) == public
    assert out(crypto.crypto_shared, 32, bob, alice) == shared


def test_x25519_agrees_with_cryptography_and_refuses_secrets_of_zero(crypto):
    crypto.crypto_shared.restype = ctypes.c_bool
    for _ in range(30):
        secret, other = os.urandom(32), X25519PrivateKey.generate().public_key()
        mine = X25519PrivateKey.from_private_bytes(secret)
        assert out(crypto.crypto_shared, 32, secret, other.public_bytes_raw()) == mine.exchange(
            other
        )
    for point in (bytes(32), bytes([1, *[0] * 31]), unhex("ecffffff" + "ff" * 27 + "7f")):
        assert not crypto.crypto_shared(ctypes.create_string_buffer(32), os.urandom(32), point)
        with pytest.raises(ValueError):
            X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(point))


def test_sha256_hmac_and_hkdf_agree_with_python(crypto):
    for length in [*range(140), 1000, 100_000]:
        data, key, salt = os.urandom(length), os.urandom(32), os.urandom(32)
        state = ctypes.create_string_buffer(128 + 16)
        aligned = ctypes.c_void_p(ctypes.addressof(state) + -ctypes.addressof(state) % 16)
        crypto.crypto_hash_begin(aligned)
        cut = length // 3
        for piece in (data[:cut], data[cut:]):
            crypto.crypto_hash_add(aligned, piece, size(piece))
        hash = ctypes.create_string_buffer(32)
        crypto.crypto_hash_end(aligned, hash)
        assert hash.raw == hashlib.sha256(data).digest()
        tag = out(crypto.crypto_authenticate, 32, data, size(data), key)
        assert tag == hmac.digest(key, data, "sha256")
        derived = out(crypto.crypto_derive, 128, ctypes.c_size_t(128), salt, key, data, size(data))
        assert derived == HKDF(SHA256(), 128, salt, data).derive(key)


def test_known_answers_of_hash_and_mac(crypto):
    """FIPS 180-4's "abc"; RFC 4231's case 1 with its key filled up with zeros, as HMAC does."""
    state = ctypes.create_string_buffer(128 + 16)
    aligned = ctypes.c_void_p(ctypes.addressof(state) + -ctypes.addressof(state) % 16)
    crypto.crypto_hash_begin(aligned)
    crypto.crypto_hash_add(aligned, b"abc", ctypes.c_size_t(3))
    hash = ctypes.create_string_buffer(32)
    crypto.crypto_hash_end(aligned, hash)
    assert hash.raw == unhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    tag = out(
        crypto.crypto_authenticate, 32, b"Hi There", ctypes.c_size_t(8), b"\x0b" * 20 + bytes(12)
    )
    assert tag == unhex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")


def test_equality_looks_at_every_byte(crypto):
    crypto.crypto_equal.restype = ctypes.c_bool
    data = os.urandom(32)
    assert crypto.crypto_equal(data, bytes(data))
    for at in range(32):
        assert not crypto.crypto_equal(data, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
