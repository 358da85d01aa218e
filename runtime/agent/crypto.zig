//! The functions of crypto.h, from Zig's standard library.
//!
//! Those that see every byte are there once more, as `..._fast`, where this file is compiled for
//! processors with instructions for SHA-256; crypto.c chooses.

const std = @import("std");
const builtin = @import("builtin");
const Aead = std.crypto.aead.chacha_poly.ChaCha20Poly1305;
const Hkdf = std.crypto.kdf.hkdf.HkdfSha256;
const Hmac = std.crypto.auth.hmac.sha2.HmacSha256;
const Sha256 = std.crypto.hash.sha2.Sha256;
const X25519 = std.crypto.dh.X25519;

const Key = *const [32]u8;

const fast = switch (builtin.cpu.arch) {
    .x86_64 => builtin.cpu.has(.x86, .sha),
    .aarch64 => builtin.cpu.has(.aarch64, .sha2),
    else => false,
};

comptime {
    std.debug.assert(@sizeOf(Sha256) <= 128 and @alignOf(Sha256) <= 16); // crypto_hash in crypto.h
    const ending = if (fast) "_fast" else "_plain";
    @export(&seal, .{ .name = "crypto_seal" ++ ending });
    @export(&open, .{ .name = "crypto_open" ++ ending });
    @export(&hashAdd, .{ .name = "crypto_hash_add" ++ ending });
    if (!fast) {
        @export(&public, .{ .name = "crypto_public" });
        @export(&sharedSecret, .{ .name = "crypto_shared" });
        @export(&derive, .{ .name = "crypto_derive" });
        @export(&authenticate, .{ .name = "crypto_authenticate" });
        @export(&equal, .{ .name = "crypto_equal" });
        @export(&wipe, .{ .name = "crypto_wipe" });
        @export(&hashBegin, .{ .name = "crypto_hash_begin" });
        @export(&hashEnd, .{ .name = "crypto_hash_end" });
    }
}

fn seal(data: [*]u8, size: usize, extra: [*]const u8, extra_size: usize, nonce: *const [12]u8, key: Key) callconv(.c) void {
    const text = data[0..size];
    Aead.encrypt(text, data[size..][0..16], text, extra[0..extra_size], nonce.*, key.*);
}

fn open(data: [*]u8, size: usize, extra: [*]const u8, extra_size: usize, nonce: *const [12]u8, key: Key) callconv(.c) bool {
    if (size < 16) return false;
    const text = data[0 .. size - 16];
    const tag = data[size - 16 ..][0..16].*;
    Aead.decrypt(text, text, tag, extra[0..extra_size], nonce.*, key.*) catch return false;
    return true;
}

fn public(public_key: *[32]u8, secret: Key) callconv(.c) void {
    public_key.* = X25519.recoverPublicKey(secret.*);
}

fn sharedSecret(shared: *[32]u8, secret: Key, theirs: Key) callconv(.c) bool {
    shared.* = X25519.scalarmult(secret.*, theirs.*) catch return false;
    return true;
}

fn derive(out: [*]u8, size: usize, salt: Key, input: Key, info: [*]const u8, info_size: usize) callconv(.c) void {
    var extracted = Hkdf.extract(salt, input);
    Hkdf.expand(out[0..size], info[0..info_size], extracted);
    std.crypto.secureZero(u8, &extracted);
}

fn authenticate(tag: *[32]u8, data: [*]const u8, size: usize, key: Key) callconv(.c) void {
    Hmac.create(tag, data[0..size], key);
}

fn equal(a: Key, b: Key) callconv(.c) bool {
    return std.crypto.timing_safe.eql([32]u8, a.*, b.*);
}

fn wipe(data: [*]u8, size: usize) callconv(.c) void {
    std.crypto.secureZero(u8, data[0..size]);
}

fn hashBegin(state: *Sha256) callconv(.c) void {
    state.* = Sha256.init(.{});
}

fn hashAdd(state: *Sha256, data: [*]const u8, size: usize) callconv(.c) void {
    state.update(data[0..size]);
}

fn hashEnd(state: *Sha256, hash: *[32]u8) callconv(.c) void {
    state.final(hash);
}
