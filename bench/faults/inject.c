/* Runs a command, counts what it and everything it starts does to files, and makes one call fail.
 *
 *   inject --filter
 *   inject --log FILE --scope PART [--kind KIND --at K --action fail|half|before|after] [--error ERRNO] [--disk PART] [--cut ATTIC --lost PART] -- COMMAND...
 *
 * With --attach PID --ready FD the command is a child that is there already: it waits for a byte from FD, then puts the filter on itself, which
 * --filter writes to standard output.
 *
 * Calls on paths that contain the scope are counted, over all processes and threads together, in the order in which the kernel saw them.
 * At the K-th of its kind (or of any): `fail` returns the error instead of making the call, with --disk for good and for all of that disk;
 * `half` writes half and kills, `before` and `after` kill around the call: everything at once. With --cut, what was done
 * to paths in which a name ends with PART and not flushed is lost too (`*`: everything in the scope); ATTIC keeps what renames replaced.
 *
 * The kernel stops a process at such a call (seccomp), this one decides (ptrace): a call cannot be missed, whatever library makes it.
 * Ends with the command's exit code; 137 where a signal ended it. x86-64.
 */
#define _GNU_SOURCE
#include "inject.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum action { NOTHING, FAIL, HALF, BEFORE, AFTER };
enum { KILLED = 137, OURS = 125, TRACEES = 4096 };
static const char *const KIND[] = {"open", "write", "fsync", "rename", "unlink", "mkdir", "truncate", "link", "map", "any"};
static const char *const ACTION[] = {"nothing", "fail", "half", "before", "after"};

static struct {
    const char *log, *scope, *disk, *attic, *lost;
    int kind, action, error, attach, ready;
    long at;
} asked = {.scope = "", .lost = "", .kind = KINDS};

static FILE *log_stream;
static long count[KINDS + 1];
static int full; /* the disk has filled up */
static pid_t dying; /* killed when its call returns */
static pid_t tracees[TRACEES];
static int known;

static void stop(const char *what)
{
    fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
    exit(OURS);
}

static int index_of(const char *word, const char *const *words, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(word, words[i])) return i;
    errno = EINVAL;
    stop(word);
    return -1;
}

/* Every process dies, and only then what was not flushed is lost: nothing writes any more. */
static void end_all(void)
{
    for (int i = 0; i < known; i++) kill(tracees[i], SIGKILL);
    for (int status; waitpid(-1, &status, __WALL) > 0 || errno == EINTR;)
        ;
    if (asked.attic) power_cut();
    fclose(log_stream);
    exit(KILLED);
}

static int inside(const struct call *call, const char *part)
{
    return part && *part && (strstr(call->path, part) || strstr(call->to, part));
}

static int named(const char *path, const char *part)
{
    for (const char *found = path; (found = strstr(found, part)); found++)
        if (found[strlen(part)] == '/' || !found[strlen(part)]) return 1;
    return 0;
}

static int can_be_lost(const struct call *call)
{
    if (!strcmp(asked.lost, "*")) return inside(call, asked.scope);
    return named(call->path, asked.lost) || named(call->to, asked.lost);
}

static int due(const struct call *call)
{
    int uses_room = call->kind == WRITE || call->kind == MKDIR || call->kind == TRUNCATE;
    if (full && uses_room && inside(call, asked.disk)) return FAIL;
    if (!inside(call, asked.scope)) return NOTHING;
    long k = ++count[call->kind], all = ++count[KINDS];
    int hit = asked.action && ((int)call->kind == asked.kind ? k : asked.kind == KINDS ? all : 0) == asked.at && asked.at;
    fprintf(log_stream, "%s\t%ld\t%ld\t%s\t%s\t%s\n", KIND[call->kind], k, call->bytes, hit ? "fault" : "", call->path, call->to);
    fflush(log_stream);
    if (hit && asked.disk) full = 1;
    return hit ? asked.action : NOTHING;
}

/* A process is about to make a call. The request with which it is let go on. */
static int before_call(pid_t process)
{
    static struct call call;
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, process, 0, &registers)) return PTRACE_CONT;
    if (!read_call(process, &registers, &call)) return PTRACE_CONT;
    int action = due(&call);
    if (action == BEFORE) end_all();
    if (action == FAIL) {
        registers.orig_rax = -1;
        registers.rax = -asked.error;
        ptrace(PTRACE_SETREGS, process, 0, &registers);
        return PTRACE_CONT;
    }
    if (asked.attic && (call.kind == FSYNC || can_be_lost(&call))) {
        if (call.kind == WRITE || call.kind == TRUNCATE) note_change(process, &call);
        if (call.kind == FSYNC) note_flush(process, &call);
        if (call.kind == RENAME) note_rename(&call, asked.attic);
    }
    if (action == NOTHING) return PTRACE_CONT;
    if (action == HALF) {
        halve(process, &registers);
        ptrace(PTRACE_SETREGS, process, 0, &registers);
    }
    dying = process;
    return PTRACE_SYSCALL;
}

static void handle(pid_t process, int status)
{
    int event = status >> 16, number = WSTOPSIG(status), request = PTRACE_CONT, deliver = 0;
    unsigned long born = 0;
    switch (event) {
    case PTRACE_EVENT_SECCOMP:
        request = before_call(process);
        break;
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE:
        ptrace(PTRACE_GETEVENTMSG, process, 0, &born);
        if (known < TRACEES) tracees[known++] = born;
        break;
    case PTRACE_EVENT_STOP:
        if (number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU) request = PTRACE_LISTEN;
        break;
    case 0:
        if (number == (SIGTRAP | 0x80)) {
            if (process == dying) end_all();
        } else {
            deliver = number;
        }
        break;
    default:
        break;
    }
    ptrace(request, process, 0, deliver);
}

/* The command, waiting for a byte from where `go` writes to. */
static pid_t fork_command(char **command, int *go)
{
    int ready[2];
    char byte = 0;
    if (pipe(ready)) stop("pipe");
    pid_t child = fork();
    if (child < 0) stop("fork");
    if (!child) {
        close(ready[1]);
        if (read(ready[0], &byte, 1) != 1) _exit(OURS);
        close(ready[0]);
        if (trap_file_calls()) stop("seccomp");
        execvp(command[0], command);
        stop(command[0]);
    }
    close(ready[0]);
    *go = ready[1];
    return child;
}

static pid_t start(char **command)
{
    char byte = 0;
    int go = asked.ready;
    pid_t child = asked.attach ? asked.attach : fork_command(command, &go);
    long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SEIZE, child, 0, options)) stop("ptrace");
    tracees[known++] = child;
    if (write(go, &byte, 1) != 1) stop("pipe");
    close(go);
    return child;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"log", 1, 0, 'l'}, {"scope", 1, 0, 's'}, {"kind", 1, 0, 'k'}, {"at", 1, 0, 'a'}, {"action", 1, 0, 'x'},
                                            {"error", 1, 0, 'e'}, {"disk", 1, 0, 'd'}, {"cut", 1, 0, 'c'}, {"lost", 1, 0, 'o'}, {"attach", 1, 0, 'p'}, {"ready", 1, 0, 'r'}, {"filter", 0, 0, 'f'},
                                            {0, 0, 0, 0}};
    for (int option; (option = getopt_long(argc, argv, "+", options, NULL)) != -1;)
        switch (option) {
        case 'l': asked.log = optarg; break;
        case 's': asked.scope = optarg; break;
        case 'k': asked.kind = index_of(optarg, KIND, KINDS + 1); break;
        case 'a': asked.at = atol(optarg); break;
        case 'x': asked.action = index_of(optarg, ACTION, 5); break;
        case 'e': asked.error = atoi(optarg); break;
        case 'd': asked.disk = optarg; break;
        case 'c': asked.attic = optarg; break;
        case 'o': asked.lost = optarg; break;
        case 'p': asked.attach = atoi(optarg); break;
        case 'r': asked.ready = atoi(optarg); break;
        case 'f': return write_filter();
        default: return OURS;
        }
    if (!asked.log || (optind >= argc && !asked.attach) || !(log_stream = fopen(asked.log, "we"))) stop("--log FILE ... -- COMMAND");
    pid_t child = start(argv + optind);
    for (int status;;) {
        pid_t process = waitpid(-1, &status, __WALL);
        if (process < 0 && errno != EINTR) stop("waitpid");
        if (process > 0 && WIFSTOPPED(status)) handle(process, status);
        if (process == child && WIFEXITED(status)) return WEXITSTATUS(status);
        if (process == child && WIFSIGNALED(status)) return KILLED;
    }
}
