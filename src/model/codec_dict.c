/* SPDX-License-Identifier: Apache-2.0 */
/* Takes conf/zstd/fhir-N.dict into the program as bytes. */
#include "config.h"

#include "model/codec_dict.h"

/* .incbin: the assembler copies the file; gcc 12 and clang 14 have no #embed yet. */
#define TAKE_IN(name, path)                                                                                            \
    __asm__(".pushsection .rodata\n"                                                                                   \
            ".global " #name "\n" #name ":\n"                                                                          \
            ".incbin \"" path "\"\n"                                                                                   \
            ".global " #name "_end\n" #name "_end:\n"                                                                  \
            ".byte 0\n"                                                                                                \
            ".popsection\n");                                                                                          \
    extern const char name[] __attribute__((visibility("hidden")));                                                    \
    extern const char name##_end[] __attribute__((visibility("hidden")))

TAKE_IN(cw_dictionary_1, CW_DICTIONARY_DIR "/fhir-1.dict");

struct cw_span cw_codec_dictionary(unsigned version)
{
    if (version == 1) {
        return cw_span_of(cw_dictionary_1, (size_t)(cw_dictionary_1_end - cw_dictionary_1));
    }
    return (struct cw_span){ NULL, 0 };
}
