#pragma once
#include <time.h>

/* The kernel's struct of each architecture, with the 64 bits of `stat64` on 32 bits. */
#define st_mtime st_mtim.tv_sec

struct stat {
#if defined(__LP64__)
    uint64_t st_dev, st_ino;
#if defined(__x86_64__)
    uint64_t st_nlink;
    uint32_t st_mode, st_uid, st_gid, padding0_;
    uint64_t st_rdev;
    int64_t st_size, st_blksize, st_blocks;
#else
    uint32_t st_mode, st_nlink, st_uid, st_gid;
    uint64_t st_rdev, padding0_;
    int64_t st_size;
    int32_t st_blksize, padding1_;
    int64_t st_blocks;
#endif
    struct timespec st_atim, st_mtim, st_ctim;
    long padding2_[3];
#else
    uint64_t st_dev;
    uint32_t padding0_, short_ino_, st_mode, st_nlink, st_uid, st_gid;
    uint64_t st_rdev;
    uint32_t padding1_[2];
    int64_t st_size;
    uint32_t st_blksize, padding2_;
    uint64_t st_blocks;
    struct timespec st_atim, st_mtim, st_ctim;
    uint64_t st_ino;
#endif
};

#define S_IFMT 0170000
#define S_ISREG(mode) (((mode) & S_IFMT) == 0100000)
#define S_ISDIR(mode) (((mode) & S_IFMT) == 0040000)

int stat(const char *, struct stat *);
int fstat(int, struct stat *);
int fstatat(int, const char *, struct stat *, int);
int fchmod(int, mode_t);
int mkdir(const char *, mode_t);
mode_t umask(mode_t);
int utimensat(int, const char *, const struct timespec[2], int);
