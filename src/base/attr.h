/* SPDX-License-Identifier: Apache-2.0 */
/* Compiler attributes by name, so that contracts in headers are checked, not only read. */
#ifndef CW_BASE_ATTR_H
#define CW_BASE_ATTR_H

#define CW_MUST_USE __attribute__((warn_unused_result))
#define CW_NONNULL(...) __attribute__((nonnull(__VA_ARGS__)))
#define CW_RETURNS_NONNULL __attribute__((returns_nonnull))
#define CW_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#define CW_MALLOC(free_fn) __attribute__((malloc, malloc(free_fn, 1)))
#define CW_COLD __attribute__((cold))
#define CW_PURE __attribute__((pure))
#define CW_CLEANUP(fn) __attribute__((cleanup(fn)))
#if defined(__clang__)
#undef CW_MALLOC
#define CW_MALLOC(free_fn) __attribute__((malloc))
#endif

#define CW_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
