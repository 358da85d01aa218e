/* One client of TVM's RPC, as the parts that serve it share it. */
#ifndef AGENT_TVM_SERVER_H
#define AGENT_TVM_SERVER_H

#include "tvm_objects.h"

enum { MOST_FILES = 256, FILE_NAME_BYTES = 128 };

/* An uploaded file. It has a name in this table alone, so that no name leads anywhere. */
typedef struct {
    char name[FILE_NAME_BYTES]; /* "": a free place */
    int file;
    uint64_t bytes;
} tvm_file;

struct tvm_server {
    tvm_wire wire;
    const settings *settings;
    tvm_objects objects;
    tvm_file files[MOST_FILES];
    uint64_t file_bytes;
    double session_seconds; /* that the client asked for; 0: as many as it likes */
    int64_t end;            /* when they are over */
    char error[1024];
};

/* Notes why something failed. Always false. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
bool tvm_fail(tvm_server *s, const char *format, ...);

/* Whether arguments are what `kinds` says, a letter each: s string, b bytes, i integer, d device, p pointer, y data
 * type, t tensor, m library; S and M may be none. Else tvm_fail; `name` is what was called. */
bool tvm_check(tvm_server *s, const char *name, const char *kinds, const tvm_value *arguments,
               int32_t count);

/* tvm_functions.c: the agent's own functions. NULL if there is none of that name. */
tvm_builtin *tvm_builtin_named(const char *name);
/* Calls a function that the client knows by handle, or that another holds. */
bool tvm_call(tvm_server *s, tvm_object *function, const tvm_value *arguments, int32_t count,
              tvm_value *result);
/* Whether a library's function may be called with these, else tvm_fail. */
bool tvm_takes(tvm_server *s, const tvm_object *kernel, const tvm_value *arguments, int32_t count);
/* tvm_fail with what a library's function that failed has raised. */
bool tvm_blame(tvm_server *s, const tvm_object *kernel);
/* Looks for a library's function; NULL, after tvm_fail, if it has none of that name. The reference is the
 * caller's. */
tvm_object *tvm_library_function(tvm_server *s, tvm_object *library, const char *name);

/* tvm_memory.c: the client's tensors. A scope is one of TVM's names for kinds of memory. */
bool tvm_is_here(tvm_server *s, tvm_device device);
bool tvm_allocate(tvm_server *s, uint64_t bytes, uint64_t alignment, tvm_value *result);
/* Where a tensor lies, if all of it is within one piece of memory. */
bool tvm_locate(tvm_server *s, const tvm_remote_tensor *t, char **data);
/* Gives tensors among the arguments their addresses. */
bool tvm_resolve(tvm_server *s, tvm_value *arguments, int32_t count);

/* tvm_files.c: what was uploaded. */
tvm_builtin tvm_upload, tvm_download, tvm_remove, tvm_list;
tvm_file *tvm_find_file(tvm_server *s, const char *name);

/* tvm_measure.c: what tuners ask of a device. */
tvm_builtin tvm_time_evaluator, tvm_flush_cache, tvm_fill_random, tvm_set_threads;

/* tvm_guard.c: code of the client's runs between the two. If it crashes, or takes too long, the client is told
 * so and the process ends. */
bool guard_open(tvm_server *s);
void guard_enter(const char *running);
void guard_leave(void);
/* For a thread that is to run such code, once. */
void guard_thread(void);

/* tvm_exports.c: what compiled functions call. */
/* Gives a library the functions that it looks for; false, after tvm_fail, if it needs what is not here. */
bool tvm_connect_library(tvm_server *s, void *opened);
/* The error that a compiled function has raised, which is then forgotten. */
void tvm_take_raised(char *text, size_t size);
/* How many threads parallel loops have, from now on; 0: one for each big core. */
void tvm_use_threads(int32_t threads);

#endif
