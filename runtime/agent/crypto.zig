//! The functions of crypto.h, from Zig's standard library.

const std = @import("std");
const Aead = std.crypto.aead.chacha_poly.ChaCha20Poly1305;
const Hkdf = std.crypto.kdf.hkdf.HkdfSha256;
const Hmac = std.crypto.auth.hmac.sha2.HmacSha256;
const Sha256 = std.crypto.hash.sha2.Sha256;
const X25519 = std.crypto.dh.X25519;

const Key = *const [32]u8;

export fn crypto_seal(data: [*]u8, size: usize, extra: [*]const u8, extra_size: usize, nonce: *const [12]u8, key: Key) void {
    const text = data[0..size];
    Aead.encrypt(text, data[size..][0..16], text, extra[0..extra_size], nonce.*, key.*);
}

export fn crypto_open(data: [*]u8, size: usize, extra: [*]const u8, extra_size: usize, nonce: *const [12]u8, key: Key) bool {
    if (size < 16) return false;
    const text = data[0 .. size - 16];
    const tag = data[size - 16 ..][0..16].*;
    Aead.decrypt(text, text, tag, extra[0..extra_size], nonce.*, key.*) catch return false;
    return true;
}

export fn crypto_public(public_key: *[32]u8, secret: Key) void {
    public_key.* = X25519.recoverPublicKey(secret.*);
}

export fn crypto_shared(shared: *[32]u8, secret: Key, theirs: Key) bool {
    shared.* = X25519.scalarmult(secret.*, theirs.*) catch return false;
    return true;
}

export fn crypto_derive(out: [*]u8, size: usize, salt: Key, input: Key, info: [*]const u8, info_size: usize) void {
    var extracted = Hkdf.extract(salt, input);
    Hkdf.expand(out[0..size], info[0..info_size], extracted);
    std.crypto.secureZero(u8, &extracted);
}

export fn crypto_authenticate(tag: *[32]u8, data: [*]const u8, size: usize, key: Key) void {
    Hmac.create(tag, data[0..size], key);
}

export fn crypto_equal(a: Key, b: Key) bool {
    return std.crypto.timing_safe.eql([32]u8, a.*, b.*);
}

export fn crypto_wipe(data: [*]u8, size: usize) void {
    std.crypto.secureZero(u8, data[0..size]);
}

comptime {
    std.debug.assert(@sizeOf(Sha256) <= 128 and @alignOf(Sha256) <= 16); // crypto_hash in crypto.h
}

export fn crypto_hash_begin(state: *Sha256) void {
    state.* = Sha256.init(.{});
}

export fn crypto_hash_add(state: *Sha256, data: [*]const u8, size: usize) void {
    state.update(data[0..size]);
}

export fn crypto_hash_end(state: *Sha256, hash: *[32]u8) void {
    state.final(hash);
}
