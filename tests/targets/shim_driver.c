/* Runs the shim API on the blob in a file: an image of [1, 3, 4, 5] goes through, and comes out the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "armlet_npu.h"

extern const armlet_npu_api API;

int main(int count, char **arguments) {
    static _Alignas(64) unsigned char blob[4096];
    FILE *file = fopen(arguments[count - 1], "rb");
    armlet_npu_blob b = {.struct_size = sizeof b, .data = blob, .bytes = fread(blob, 1, sizeof blob, file)};
    fclose(file);
    unsigned char x[60], y[60] = {0};
    for (int i = 0; i < 60; i++) x[i] = (unsigned char)i;
    const void *inputs[] = {x};
    void *outputs[] = {y}, *region = NULL;
    char error[128] = "";
    const armlet_npu_api *api = &API;
    armlet_status status = api->create(&b, &region, error, sizeof error);
    if (status == ARMLET_OK) {
        status = api->run(region, inputs, outputs, error, sizeof error);
        api->destroy(region);
    }
    printf("%d %s\n", status, status ? error : memcmp(x, y, 60) ? "wrong" : "right");
    return 0;
}
