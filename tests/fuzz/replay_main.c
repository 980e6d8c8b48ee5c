/*
 * Runs every file of the given folders through a fuzz target, without a fuzzer: seeds and old
 * crashers are replayed by every build, with any compiler. A folder without files is an error,
 * since then nothing was tested.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Targets that must prepare something once define this, as libFuzzer allows. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Exactly as large as the file, so that a sanitizer sees any step outside. */
static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long size = -1;

    if (file != NULL && fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    if (size >= 0)
        data = malloc((size_t)size + 1);
    if (data != NULL) {
        rewind(file);
        if (fread(data + 1, 1, (size_t)size, file) != (size_t)size)
            size = -1;
    }
    if (file != NULL)
        fclose(file);
    if (data == NULL || size < 0) {
        fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
        free(data);
        return -EIO;
    }
    printf("%s: %ld bytes\n", path, size);
    fflush(stdout); /* so that the name is seen when the target ends the process */
    LLVMFuzzerTestOneInput(data + 1, (size_t)size);
    free(data);
    return 0;
}

/* Returns the number of files replayed, or a negative errno. */
static int replay_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int count = 0;

    if (dir == NULL) {
        fprintf(stderr, "%s: %s\n", folder, strerror(errno));
        return -ENOENT;
    }
    while (count >= 0 && (entry = readdir(dir)) != NULL) {
        char path[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        count = replay_file(path) == 0 ? count + 1 : -EIO;
    }
    closedir(dir);
    if (count == 0)
        fprintf(stderr, "%s: no file to replay\n", folder);
    return count;
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&argc, &argv);
    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        int count = replay_folder(argv[i]);

        if (count <= 0)
            return 1;
        printf("%s: %d inputs replayed\n", argv[i], count);
    }
    return 0;
}
