/* A power cut loses what was not flushed. This keeps what is needed to lose it: the worst case, in which nothing reached the disk by itself. */
#define _GNU_SOURCE
#include "inject.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIRTY = 1024, RENAMES = 64 };

/* An open descriptor survives a rename or an unlink. */
static struct { dev_t dev; ino_t ino; int fd; off_t durable; } dirty[DIRTY];
static int dirties;
static struct { char from[PATH], to[PATH], saved[PATH]; } renames[RENAMES];
static int renamed;

static void address(pid_t process, const struct call *call, char *out, size_t room)
{
    if (call->fd < 0) snprintf(out, room, "%s", call->path);
    else snprintf(out, room, "/proc/%d/fd/%d", process, call->fd);
}

static int find(const struct stat *st)
{
    for (int i = 0; i < dirties; i++)
        if (dirty[i].dev == st->st_dev && dirty[i].ino == st->st_ino) return i;
    return -1;
}

/* Before the content changes: the size that it has now is what was flushed. */
void note_change(pid_t process, const struct call *call)
{
    struct stat st;
    char name[PATH];
    address(process, call, name, sizeof name);
    if (stat(name, &st) || !S_ISREG(st.st_mode) || find(&st) >= 0 || dirties == DIRTY) return;
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    dirty[dirties].dev = st.st_dev, dirty[dirties].ino = st.st_ino, dirty[dirties].fd = fd, dirty[dirties].durable = st.st_size;
    dirties++;
}

void note_flush(pid_t process, const struct call *call)
{
    struct stat st;
    char name[PATH];
    address(process, call, name, sizeof name);
    if (stat(name, &st)) return;
    int i = find(&st);
    if (i >= 0) {
        close(dirty[i].fd);
        dirty[i] = dirty[--dirties];
    }
    size_t n = strlen(call->path);
    for (i = 0; i < renamed; i++) {
        const char *end = strrchr(renames[i].to, '/');
        if (S_ISDIR(st.st_mode) && end && (size_t)(end - renames[i].to) == n && !strncmp(renames[i].to, call->path, n)) renames[i].to[0] = 0;
    }
}

void note_rename(const struct call *call, const char *attic)
{
    if (renamed == RENAMES) return;
    snprintf(renames[renamed].from, PATH, "%s", call->path);
    snprintf(renames[renamed].to, PATH, "%s", call->to);
    snprintf(renames[renamed].saved, PATH, "%s/%d-%d", attic, getpid(), renamed);
    if (link(call->to, renames[renamed].saved)) renames[renamed].saved[0] = 0;
    renamed++;
}

/* Contents back to their last flush, renames back to the last flush of the folder that they went to, newest first. */
void power_cut(void)
{
    while (renamed--) {
        if (!renames[renamed].to[0] || !access(renames[renamed].from, F_OK)) continue;
        if (rename(renames[renamed].to, renames[renamed].from)) continue;
        if (renames[renamed].saved[0]) rename(renames[renamed].saved, renames[renamed].to);
    }
    for (int i = 0; i < dirties; i++)
        if (ftruncate(dirty[i].fd, dirty[i].durable)) continue;
}
