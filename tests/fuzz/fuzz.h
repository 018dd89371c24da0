/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What all fuzz targets share: the door that libFuzzer knocks at, and how an input is cut up. */
#ifndef PMXCFS_TESTS_FUZZ_H
#define PMXCFS_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"

/* libFuzzer calls it with each input; always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold for any input; libFuzzer keeps the input that breaks it. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The next piece of an input: a u16 and so many bytes (or what is left) in memory of their own, so
 * that reading beyond the end is seen. free() it. */
static inline uint8_t *take_piece(struct reader *input, size_t *size)
{
    size_t wanted = reader_u16(input);

    if (wanted > input->left)
        wanted = input->left;
    uint8_t *copy = malloc(wanted ? wanted : 1);
    const uint8_t *bytes = reader_bytes(input, wanted);
    if (bytes && wanted > 0)
        memcpy(copy, bytes, wanted);
    *size = bytes ? wanted : 0;
    return copy;
}

#endif
