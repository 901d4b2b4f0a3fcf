/* Which system calls change files, and what they are about to change. */
#define _GNU_SOURCE
#include "inject.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef __x86_64__
#error "the registers of a call are read and changed here: x86-64 only"
#endif

/* Where a call names its file: arguments by their number, -1: none. A path of its own folder descriptor stands right after that. */
struct shape { int number; enum kind kind; int fd, dir, path, to_dir, to, bytes, parts; };
#define NONE -1
static const struct shape SHAPES[] = {
    /* number, kind, fd, dir, path, to_dir, to, bytes, parts */
    {SYS_open, OPEN, NONE, NONE, 0, NONE, NONE, NONE, NONE},
    {SYS_creat, OPEN, NONE, NONE, 0, NONE, NONE, NONE, NONE},
    {SYS_openat, OPEN, NONE, 0, 1, NONE, NONE, NONE, NONE},
    {SYS_openat2, OPEN, NONE, 0, 1, NONE, NONE, NONE, NONE},
    {SYS_write, WRITE, 0, NONE, NONE, NONE, NONE, 2, NONE},
    {SYS_pwrite64, WRITE, 0, NONE, NONE, NONE, NONE, 2, NONE},
    {SYS_writev, WRITE, 0, NONE, NONE, NONE, NONE, NONE, 1},
    {SYS_pwritev, WRITE, 0, NONE, NONE, NONE, NONE, NONE, 1},
    {SYS_pwritev2, WRITE, 0, NONE, NONE, NONE, NONE, NONE, 1},
    {SYS_sendfile, WRITE, 0, NONE, NONE, NONE, NONE, 3, NONE},
    {SYS_copy_file_range, WRITE, 2, NONE, NONE, NONE, NONE, 4, NONE},
    {SYS_splice, WRITE, 2, NONE, NONE, NONE, NONE, 4, NONE},
    {SYS_fsync, FSYNC, 0, NONE, NONE, NONE, NONE, NONE, NONE},
    {SYS_fdatasync, FSYNC, 0, NONE, NONE, NONE, NONE, NONE, NONE},
    {SYS_syncfs, FSYNC, 0, NONE, NONE, NONE, NONE, NONE, NONE},
    {SYS_rename, RENAME, NONE, NONE, 0, NONE, 1, NONE, NONE},
    {SYS_renameat, RENAME, NONE, 0, 1, 2, 3, NONE, NONE},
    {SYS_renameat2, RENAME, NONE, 0, 1, 2, 3, NONE, NONE},
    {SYS_unlink, UNLINK, NONE, NONE, 0, NONE, NONE, NONE, NONE},
    {SYS_unlinkat, UNLINK, NONE, 0, 1, NONE, NONE, NONE, NONE},
    {SYS_rmdir, UNLINK, NONE, NONE, 0, NONE, NONE, NONE, NONE},
    {SYS_mkdir, MKDIR, NONE, NONE, 0, NONE, NONE, NONE, NONE},
    {SYS_mkdirat, MKDIR, NONE, 0, 1, NONE, NONE, NONE, NONE},
    {SYS_truncate, TRUNCATE, NONE, NONE, 0, NONE, NONE, 1, NONE},
    {SYS_ftruncate, TRUNCATE, 0, NONE, NONE, NONE, NONE, 1, NONE},
    {SYS_fallocate, TRUNCATE, 0, NONE, NONE, NONE, NONE, 3, NONE},
    {SYS_link, LINK, NONE, NONE, 0, NONE, 1, NONE, NONE},
    {SYS_linkat, LINK, NONE, 0, 1, 2, 3, NONE, NONE},
    {SYS_symlink, LINK, NONE, NONE, 1, NONE, NONE, NONE, NONE},
    {SYS_symlinkat, LINK, NONE, 1, 2, NONE, NONE, NONE, NONE},
    {SYS_mmap, MAP, 4, NONE, NONE, NONE, NONE, 1, NONE}, /* shared and writable only: counted, so that a writer by memory would be seen */
};
enum { CALLS = sizeof SHAPES / sizeof *SHAPES, CHANGES = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC };

static struct sock_filter program[8 + 6 * CALLS];

/* Stops at these calls. Opening to read is let through: it would be most of them. Returns the length. */
static unsigned short make_filter(void)
{
    unsigned short n = 0;
#define ADD(...) program[n++] = (struct sock_filter)__VA_ARGS__
#define ARGUMENT(i) offsetof(struct seccomp_data, args[i])
    ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
    ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    for (int i = 0; i < CALLS; i++) {
        int flags = SHAPES[i].number == SYS_open ? 1 : SHAPES[i].number == SYS_openat ? 2 : NONE;
        int mapped = SHAPES[i].number == SYS_mmap;
        ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
        ADD(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SHAPES[i].number, 0, mapped ? 5 : flags != NONE ? 3 : 1));
        if (mapped) {
            ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(2)));
            ADD(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_WRITE, 0, 3));
            ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(3)));
            ADD(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_SHARED, 0, 1));
        } else if (flags != NONE) {
            ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(flags)));
            ADD(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CHANGES, 0, 1));
        }
        ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
    }
    ADD(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    return n;
}

/* From here on, this process and what it starts stop at these calls. */
int trap_file_calls(void)
{
    struct sock_fprog filter = {make_filter(), program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

/* The filter as it is, for a process that puts it on itself. */
int write_filter(void)
{
    size_t bytes = make_filter() * sizeof *program;
    return write(STDOUT_FILENO, program, bytes) != (ssize_t)bytes;
}

static long argument(const struct user_regs_struct *registers, int i)
{
    const unsigned long long all[] = {registers->rdi, registers->rsi, registers->rdx, registers->r10, registers->r8, registers->r9};
    return (long)all[i];
}

static ssize_t peek(pid_t process, long from, void *to, size_t n)
{
    struct iovec here = {to, n}, there = {(void *)from, n};
    return process_vm_readv(process, &here, 1, &there, 1, 0);
}

/* A string may end just before memory that cannot be read: page by page. */
static void peek_string(pid_t process, long from, char *out, size_t room)
{
    size_t done = 0;
    while (done < room - 1) {
        size_t n = 4096 - ((from + done) & 4095);
        if (n > room - 1 - done) n = room - 1 - done;
        if (peek(process, from + done, out + done, n) <= 0) break;
        if (memchr(out + done, 0, n)) return;
        done += n;
    }
    out[done] = 0;
}

/* The name of a descriptor, or a name below one. */
static void name_of(pid_t process, int fd, const char *name, char *out)
{
    char link[64];
    if (name && name[0] == '/') {
        snprintf(out, PATH, "%s", name);
        return;
    }
    if (fd == AT_FDCWD) snprintf(link, sizeof link, "/proc/%d/cwd", process);
    else snprintf(link, sizeof link, "/proc/%d/fd/%d", process, fd);
    ssize_t n = readlink(link, out, PATH - 1);
    out[n > 0 ? n : 0] = 0;
    if (name && n > 0) snprintf(out + n, PATH - n, "/%s", name);
}

/* 0 where it is no call that changes files. */
int read_call(pid_t process, const struct user_regs_struct *registers, struct call *call)
{
    const struct shape *shape = NULL;
    char name[PATH];
    for (int i = 0; i < CALLS && !shape; i++)
        if ((long long)registers->orig_rax == SHAPES[i].number) shape = &SHAPES[i];
    if (!shape) return 0;
    call->kind = shape->kind, call->path[0] = call->to[0] = 0, call->bytes = 0;
    call->fd = shape->fd == NONE ? -1 : (int)argument(registers, shape->fd);
    if (shape->fd != NONE) name_of(process, call->fd, NULL, call->path);
    if (shape->path != NONE) {
        peek_string(process, argument(registers, shape->path), name, sizeof name);
        name_of(process, shape->dir == NONE ? AT_FDCWD : (int)argument(registers, shape->dir), name, call->path);
    }
    if (shape->to != NONE) {
        peek_string(process, argument(registers, shape->to), name, sizeof name);
        name_of(process, shape->to_dir == NONE ? AT_FDCWD : (int)argument(registers, shape->to_dir), name, call->to);
    }
    if (shape->bytes != NONE) call->bytes = argument(registers, shape->bytes);
    if (shape->parts != NONE) {
        struct iovec part;
        for (long i = 0; i < argument(registers, 2) && peek(process, argument(registers, 1) + i * (long)sizeof part, &part, sizeof part) > 0; i++)
            call->bytes += part.iov_len;
    }
    return 1;
}

/* Make the write that is about to happen half as long; of several parts, half of the first. */
void halve(pid_t process, struct user_regs_struct *registers)
{
    struct iovec part;
    switch (registers->orig_rax) {
    case SYS_write: case SYS_pwrite64: registers->rdx /= 2; break;
    case SYS_sendfile: registers->r10 /= 2; break;
    case SYS_copy_file_range: case SYS_splice: registers->r8 /= 2; break;
    case SYS_writev: case SYS_pwritev: case SYS_pwritev2:
        if (peek(process, registers->rsi, &part, sizeof part) <= 0) break;
        registers->orig_rax = registers->orig_rax == SYS_writev ? SYS_write : SYS_pwrite64; /* the position is the same argument */
        registers->rsi = (unsigned long)part.iov_base, registers->rdx = part.iov_len / 2;
        break;
    default: break;
    }
}
