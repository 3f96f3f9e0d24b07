/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Force-included into every file of src/ and tests/. Makes calls that cannot be used safely an error. Calls that belong to one
 * room alone (libcurl, libfcgi, MariaDB, libjwt) are checked over the symbols of the objects by tests/lint/rooms.sh.
 */
#ifndef CW_BASE_BANNED_H
#define CW_BASE_BANNED_H

/* Libraries declare some of these, so their headers come first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
/* Its macros name strcpy and strncpy; only db/ may call what it declares. */
#include <mysql.h>

#undef alloca /* a macro of <stdlib.h> under _GNU_SOURCE; a macro cannot be poisoned */
#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strncat strtok atoi atol atoll gets
#pragma GCC poison gmtime localtime ctime asctime popen alloca tmpnam mktemp

#endif
