/* main for a harness without libFuzzer: runs it on each file that is named. */
#include "fuzz.h"

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (file == NULL) {
            perror(argv[i]);
            return 1;
        }
        uint8_t *data = malloc(1 << 20);
        MUST(data != NULL);
        size_t n = fread(data, 1, 1 << 20, file);
        fclose(file);
        LLVMFuzzerTestOneInput(data, n);
        free(data);
    }
    printf("%d replayed\n", argc - 1);
    return 0;
}
