/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name of a process in leases: "node.installation.boot/process". Everything before the slash is the family: an id that the
 * node's lock file holds, so that two machines of one host name are two, and the machine's boot, so that a copied state
 * folder makes no twin. Who holds the lock is the only living one of its family, and may take what others of it left.
 */
#include "config.h"
#include "scheduler/scheduler.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "os/sys.h"

#define NODE_PART 16
#define ID_LEN 16

static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";

static void random_letters(char *out, size_t len)
{
    cw_random(out, len);
    for (size_t i = 0; i < len; i++) {
        out[i] = letters[(unsigned char)out[i] % 32];
    }
}

/* The id in the lock file; made on first use. We hold the lock. */
static bool installation_id(int fd, char ret[ID_LEN])
{
    if (pread(fd, ret, ID_LEN, 0) == ID_LEN && strspn(ret, letters) >= ID_LEN) {
        return true;
    }
    random_letters(ret, ID_LEN);
    return ftruncate(fd, 0) == 0 && pwrite(fd, ret, ID_LEN, 0) == ID_LEN && fsync(fd) == 0;
}

/* The first letters of this boot's id; a system without one has none. */
static void boot_id(char ret[9])
{
    CW_AUTO_STR text;
    cw_str_init(&text, 64);
    struct cw_err ignored = { 0 };
    ret[0] = '\0';
    if (cw_file_read("/proc/sys/kernel/random/boot_id", false, &text, &ignored) == CW_OK) {
        (void)snprintf(ret, 9, "%.8s", cw_str_cstr(&text));
    }
}

static int lock(const char *state_dir, const char *node, struct cw_err *err)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/scheduler-%s.lock", state_dir, node);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        (void)cw_err_sys(err, CW_E_IO, errno, "scheduler", "the lock file in state_dir cannot be opened");
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        fd = -1;
        (void)cw_err_set(err, CW_E_CONFIG, "scheduler", "another scheduler of this node runs already");
    }
    return fd;
}

enum cw_code owner_take(const char *state_dir, const char *node, char ret[CW_OWNER_MAX + 1], struct cw_err *err)
{
    char id[ID_LEN + 1] = "", boot[9], process[9] = "";
    int fd = lock(state_dir, node, err); /* held, by the open descriptor, until the process ends */
    if (fd < 0) {
        return err->code;
    }
    if (!installation_id(fd, id)) {
        enum cw_code rc = cw_err_sys(err, CW_E_IO, errno, "scheduler", "the lock file in state_dir cannot be written");
        close(fd);
        return rc;
    }
    boot_id(boot);
    random_letters(process, sizeof process - 1);
    (void)snprintf(ret, CW_OWNER_MAX + 1, "%.*s.%s.%s/%s", NODE_PART, node, id, boot, process);
    return CW_OK;
}
