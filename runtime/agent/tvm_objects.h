/* What a session has given out to its client: memory, libraries and functions. The client knows them by handles: a
 * place in a table and how often the place was used before, never an address. */
#ifndef AGENT_TVM_OBJECTS_H
#define AGENT_TVM_OBJECTS_H

#include "tvm_wire.h"

typedef struct tvm_server tvm_server;
typedef struct tvm_object tvm_object;

/* A function of the agent's own. False, after tvm_fail, if it failed. */
typedef bool tvm_builtin(tvm_server *s, tvm_object *self, const tvm_value *arguments, int32_t count,
                         tvm_value *result);

typedef enum { KIND_FREE, KIND_MEMORY, KIND_LIBRARY, KIND_FUNCTION } tvm_kind;
enum { MOST_IMPORTS = 8 };

struct tvm_object {
    tvm_kind kind;
    uint32_t generation, references;
    union {
        struct {
            void *data;
            uint64_t bytes;
        } memory;
        struct {
            void *opened;
            int file; /* open as long as the library is: its path is the library's name */
            int imported;
            tvm_object *imports[MOST_IMPORTS];
        } library;
        struct {
            tvm_builtin *builtin; /* or */
            tvm_function *kernel; /* of a library */
            void *state;          /* of a builtin, freed with it */
            tvm_object *needs;    /* what must live as long; may be NULL */
            char name[96];
        } function;
    };
};

typedef struct {
    tvm_object *places;
    uint32_t used; /* places that were ever */
    uint64_t memory; /* bytes that all memory objects take */
} tvm_objects;

bool objects_open(tvm_objects *o);
/* NULL if the table is full; else a new one, with one reference. */
tvm_object *objects_add(tvm_objects *o, tvm_kind kind);
uint64_t objects_handle(const tvm_objects *o, const tvm_object *object);
/* NULL if there is no such object of that kind. */
tvm_object *objects_find(const tvm_objects *o, uint64_t handle, tvm_kind kind);
tvm_object *objects_keep(tvm_object *object);
/* Frees what it is when nobody needs it any more. */
void objects_release(tvm_objects *o, tvm_object *object);

#endif
