/* What the injector's three parts share. */
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

enum kind { OPEN, WRITE, FSYNC, RENAME, UNLINK, MKDIR, TRUNCATE, LINK, MAP, KINDS };
enum { PATH = 4096 };

/* A system call that changes files, as it is about to be made. */
struct call {
    enum kind kind;
    char path[PATH], to[PATH];
    int fd; /* of the file that is written or flushed, in the process; -1: by its name */
    long bytes;
};

int trap_file_calls(void);
int write_filter(void);
int read_call(pid_t process, const struct user_regs_struct *registers, struct call *call);
void halve(pid_t process, struct user_regs_struct *registers);

void note_change(pid_t process, const struct call *call);
void note_flush(pid_t process, const struct call *call);
void note_rename(const struct call *call, const char *attic);
void power_cut(void);
