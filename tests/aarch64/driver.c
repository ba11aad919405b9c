/* Runs a compiled model once, on numbers from a file.

   driver                  prints HWCAP and HWCAP2, in which Linux tells what the CPU can do
   driver INPUT OUTPUT
   INPUT   i64 words: floating-point mode, threads, words of the frame, bytes of the arena, bytes of scratch a thread, bytes of weights,
           number of inputs, of outputs, of symbols; bytes of each input and output; values of the symbols; then weights, inputs
   OUTPUT  the outputs
   Every operand ends where a page begins that must not be touched. Exit status: 2 for a bad file, 3 if the run left another
   floating-point mode than it found.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>

enum { PAGE = 4096, RUNTIME_WORDS = 32, HEADER = 7 };
enum { MODE, THREADS, FRAME, ARENA, SCRATCH, WEIGHTS, INPUTS, OUTPUTS, SYMBOLS, WORDS };

void run(void *frame, int64_t threads);

static char *place(int64_t bytes) {
    int64_t body = (bytes + PAGE - 1) / PAGE * PAGE;
    char *memory = mmap(NULL, body + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + body, PAGE, PROT_NONE)) exit(2);
    return memory + body - bytes;
}

static void take(void *to, int64_t bytes, FILE *from) {
    if (fread(to, 1, bytes, from) != (size_t)bytes) exit(2);
}

static uint64_t mode(void) {
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
}

int main(int argc, char **argv) {
    if (argc == 1) return printf("%lu %lu\n", getauxval(AT_HWCAP), getauxval(AT_HWCAP2)) < 0;
    FILE *in = argc == 3 ? fopen(argv[1], "rb") : NULL;
    int64_t w[WORDS];
    if (!in) return 2;
    take(w, sizeof w, in);
    int64_t operands = w[INPUTS] + w[OUTPUTS], sizes[operands + 1];
    take(sizes, 8 * operands, in);
    int64_t *frame = (int64_t *)place((8 * w[FRAME] + 63) / 64 * 64), *word = frame + RUNTIME_WORDS;
    take(word + HEADER + operands, 8 * w[SYMBOLS], in);
    char *weights = place((w[WEIGHTS] + 63) / 64 * 64);
    take(weights, w[WEIGHTS], in);
    word[0] = (int64_t)place(w[ARENA]);
    word[1] = (int64_t)weights;
    word[2] = (int64_t)place(w[SCRATCH] * w[THREADS]);
    word[3] = w[SCRATCH];
    for (int64_t k = 0; k < operands; k++) {
        char *operand = place(sizes[k]);
        word[HEADER + k] = (int64_t)operand;
        if (k < w[INPUTS]) take(operand, sizes[k], in);
    }
    uint64_t before = w[MODE];
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
    run(frame, w[THREADS]);
    if (mode() != before) return 3;
    FILE *out = fopen(argv[2], "wb");
    for (int64_t k = w[INPUTS]; k < operands; k++)
        if (!out || fwrite((void *)word[HEADER + k], 1, sizes[k], out) != (size_t)sizes[k]) return 2;
    return fclose(out) ? 2 : 0;
}
