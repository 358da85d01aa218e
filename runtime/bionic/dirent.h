#pragma once
#include <sys/types.h>

typedef struct DIR DIR;

/* 64 bits of everything, on 32 bits too. */
struct dirent {
    uint64_t d_ino;
    int64_t d_off;
    unsigned short d_reclen;
    unsigned char d_type;
    char d_name[256];
};

DIR *opendir(const char *);
DIR *fdopendir(int);
struct dirent *readdir(DIR *);
int dirfd(DIR *);
int closedir(DIR *);
