/* The smallest honest member of a pair: docs/protocol.md and docs/folder.md as a program. Linux 5.3, the C library alone.
 *
 *     cc -O2 -o member member.c && ./member SELF PEER COMMAND [ARG...]
 *
 * One thread, one poll(): work() is where a program of your own does its work, so that the heartbeat stops when the work hangs.
 * README.md beside this file says what it leaves out. The same steps, easier to read: ../python/member.py. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "sha256.h"

enum { HEARTBEAT = 1000, BACKOFF = 500, BACKOFF_MAX = 2000, STABLE = 10000, PATIENCE = 10000, LINKS = 64, LINE = 512 }; /* ms, bytes */

static const char *self, *peer;
static char **command, folder[PATH_MAX], me[300], used[80];
static unsigned long long generation, revived;
static char boot[64];
static mode_t mask;
static int reborn, gone, peer_fd = -1, peer_pid, tether;
static int64_t begun, since, start_at, wait_ms = -1, beat_at, dial_at;
static volatile sig_atomic_t terminated;

typedef struct { int fd, pid, ready, first, asks; unsigned beats; int64_t by; size_t have; char line[LINE + 1]; } Link;
static Link links[LINKS], *inward, *outward;

static int64_t ms(clockid_t clock) { struct timespec t; clock_gettime(clock, &t); return t.tv_sec * 1000LL + t.tv_nsec / 1000000; }
static int64_t now(void) { return ms(CLOCK_MONOTONIC); }
static void die(int code, const char *what) { fprintf(stderr, "member: %s: %s\n", self, what); _exit(code); }

static const char *text(const char *format, ...) { /* one of a few buffers in turn */
    static char buffers[8][PATH_MAX + 600]; static int next;
    char *b = buffers[next = (next + 1) % 8];
    va_list args; va_start(args, format); vsnprintf(b, sizeof buffers[0], format, args); va_end(args);
    return b;
}
static const char *file(const char *name, const char *ext) { return text("%s/%s.%s", folder, name, ext); }
static const char *stop_file(void) {
    int order = strcmp(self, peer) < 0;
    return text("%s/stop.%s+%s", folder, order ? self : peer, order ? peer : self);
}

/* --- the folder --- */

static int holder(const char *name) { /* folder.md 2.1: the kernel names the process that holds the lock; 0: nobody */
    struct flock ask = {.l_type = F_WRLCK};
    int fd = open(file(name, "lock"), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    if (fcntl(fd, F_GETLK, &ask)) ask.l_type = F_UNLCK;
    close(fd);
    return ask.l_type == F_UNLCK ? 0 : ask.l_pid;
}

static void claim(void) { /* folder.md 2 */
    struct stat at, locked; struct flock lock = {.l_type = F_WRLCK};
    char seed[PATH_MAX + 200]; struct sockaddr_un a = {.sun_family = AF_UNIX};
    mkdir(folder, 0700);
    if (stat(folder, &at) || at.st_uid != geteuid() || (at.st_mode & 0777) != 0700) die(1, text("%s must be yours and have mode 0700", folder));
    int n = snprintf(seed, sizeof seed, "%ju%c%s%c%s", (uintmax_t)at.st_dev, 0, folder, 0, self);
    int fd = open(file(self, "lock"), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600); /* never closed, never opened again */
    if (fd < 0) die(1, strerror(errno));
    if (fcntl(fd, F_SETLK, &lock)) die(100, "the name is taken");
    int head = 1 + sprintf(a.sun_path + 1, "pairguard/%u/", geteuid());
    char hex[33]; sha256((unsigned char *)seed, n, hex); memcpy(a.sun_path + head, hex, 32);
    tether = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(tether, (struct sockaddr *)&a, offsetof(struct sockaddr_un, sun_path) + head + 32)) die(100, "the name is taken");
    listen(tether, 128);
    if (fstat(fd, &locked) || stat(file(self, "lock"), &at) || at.st_ino != locked.st_ino) die(100, "the lock file was replaced: start again");
}

static char *load(const char *path) { /* folder.md 3: "" when it cannot be read; that it exists may count all the same */
    static char buffers[4][4097]; static int next;
    char *b = buffers[next = (next + 1) % 4];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? 0 : read(fd, b, 4096);
    if (fd >= 0) close(fd);
    b[n > 0 ? n : 0] = 0;
    return b;
}
static const char *field(const char *record, const char *name) { /* the value of a key of the record; "" when it is not there */
    const char *at = strstr(record, text("\"%s\":", name));
    if (!at) return "";
    at += strlen(name) + 3;
    at += strspn(at, " ");
    return at + (*at == '"');
}
static unsigned long long number(const char *record, const char *name) { return strtoull(field(record, name), NULL, 10); }
static int says(const char *record, const char *name, const char *value) {
    return *value && !strncmp(field(record, name), value, strlen(value)) && field(record, name)[strlen(value)] == '"';
}

static void store(const char *path, const char *format, ...) { /* written aside, then renamed; the rename is the instant */
    const char *aside = text("%s/~%s.%d.tmp", folder, strrchr(path, '/') + 1, getpid());
    va_list args; va_start(args, format);
    FILE *f = fopen(aside, "we");
    if (!f) return va_end(args);
    fputs("{\"version\":1,", f); vfprintf(f, format, args); fputs("}\n", f); va_end(args);
    int ok = !fflush(f) && !fsync(fileno(f));
    if (fclose(f) || !ok || rename(aside, path)) unlink(aside);
}

static const char *identity(int pid) { /* folder.md 3.1 */
    char stat_line[1024] = ""; struct stat ns; unsigned long long start = 0;
    FILE *f = fopen(text("/proc/%d/stat", pid), "re");
    if (f) { stat_line[fread(stat_line, 1, sizeof stat_line - 1, f)] = 0; fclose(f); }
    char *at = strrchr(stat_line, ')');
    for (int i = 0; at && i < 20; i++) at = strchr(at + 1, ' ');
    if (at) start = strtoull(at, NULL, 10);
    stat("/proc/self/ns/pid", &ns);
    return text("{\"boot_id\":\"%s\",\"pid_namespace\":%ju,\"pid\":%d,\"start\":%llu}", boot, (uintmax_t)ns.st_ino, pid, start);
}
static const char *stamp(void) {
    static char b[32]; time_t t = time(NULL);
    strftime(b, sizeof b, "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));
    return b;
}
static int left(void) { /* folder.md 3.3: of its newest life and of this boot, or not known */
    const char *leave = load(file(peer, "leave")), *life = load(file(peer, "life"));
    if (access(file(peer, "leave"), F_OK)) return 0;
    if (strcspn(field(leave, "boot_id"), "\"") && !says(leave, "boot_id", boot)) return 0;
    return !*field(leave, "generation") || !*life || number(leave, "generation") == number(life, "generation");
}
static long long held(void) { /* folder.md 3.5, in ms */
    const char *hold = load(file(peer, "hold"));
    long long rest = says(hold, "boot_id", boot) ? (long long)(number(hold, "until_boot") / 1000000) - ms(CLOCK_BOOTTIME) : 0;
    return rest > 0 ? rest : 0;
}

/* --- the wire --- */

static void say(Link *l, const char *format, ...) { /* what does not fit is dropped, whole lines at a time */
    char b[LINE]; va_list args; va_start(args, format);
    int n = vsnprintf(b, sizeof b - 1, format, args); va_end(args);
    b[n] = '\n';
    if (l && l->fd >= 0) (void)!send(l->fd, b, n + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}
static void hang_up(Link *l) {
    if (l->fd >= 0) close(l->fd);
    l->fd = -1;
    if (l == inward) inward = NULL;
    if (l == outward) outward = NULL;
}
static Link *take(int fd) { /* protocol.md 8.1: the user is checked before anything is read */
    struct ucred who; socklen_t n = sizeof who;
    Link *l = links;
    while (l < links + LINKS && l->fd >= 0) l++;
    if (l == links + LINKS || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) || (who.uid && who.uid != geteuid())) return close(fd), NULL;
    *l = (Link){.fd = fd, .pid = who.pid, .first = 1, .by = now() + PATIENCE};
    return l;
}
static void hello(Link *l) {
    say(l, "HELLO 1 self=%s peer=%s pid=%d gen=%llu heartbeat_ms=%d health=ok", self, peer, getpid(), generation, HEARTBEAT);
}
static void status(Link *l) {
    const char *phase = gone ? "left" : peer_fd < 0 ? "reviving" : inward ? "up" : "starting";
    say(l, "STATUS 1 self=%s pid=%d peer=%s%s phase=%s plain=false guards_hang=false gen=%llu revived=%llu held_ms=%lld", self, getpid(), peer,
        peer_fd < 0 ? "" : text(" peer_pid=%d", peer_pid), phase, generation, revived, held());
}
static void end(const char *kind, const char *reason) { /* the goodbye is stored by now */
    say(outward, "BYE %s reason=%s", kind, reason);
    say(inward, "BYE %s reason=%s", kind, reason);
    _exit(0); /* the socket stays; the next holder of the name removes it */
}
static void look(void) { if (!access(stop_file(), F_OK)) end("stop", ""); }

static const char *key(char *line, const char *name) { /* the value of a key, "" when it is missing; NULL when the line is malformed */
    static char value[LINE]; int found = 0; size_t n = strlen(name);
    value[0] = 0;
    if (strstr(line, "  ") || line[strspn(line, " ")] != line[0] || !*line || line[strlen(line) - 1] == ' ') return NULL;
    for (char *c = line; *c; c++) if (*c < 0x20 || *c > 0x7e) return NULL;
    for (char *w = strchr(line, ' '); w; w = strchr(w + 1, ' ')) {
        if (strncmp(w + 1, name, n) || w[1 + n] != '=') continue;
        if (found++) return NULL;
        snprintf(value, sizeof value, "%.*s", (int)strcspn(w + 2 + n, " "), w + 2 + n);
        for (char *p = strchr(value, '%'); p; p = strchr(p + 1, '%')) if (strspn(p + 1, "0123456789abcdefABCDEF") < 2) return NULL;
    }
    return value;
}
static int is(const char *a, const char *b) { return a && !strcmp(a, b); }

static const char *objection(Link *l, char *line) { /* protocol.md 5, 8, 9 */
    static const char *const required[] = {"pid", "gen", "heartbeat_ms", "health"};
    if (strncmp(line, "HELLO ", 6)) return "say%20HELLO";
    if (strncmp(line, "HELLO 1 ", 8)) return "this%20is%20version%201";
    for (int i = 0; i < 4; i++) { const char *v = key(line, required[i]); if (!v || !*v) return "malformed"; }
    if (!is(key(line, "self"), peer) || !is(key(line, "peer"), self)) return "this%20is%20another%20pair";
    return holder(peer) == l->pid ? NULL : "you%20do%20not%20hold%20that%20name";
}
static void bye(char *line) {
    const char *reason = key(line, "reason"); /* also says whether the line is good */
    if (reason && !strncmp(line, "BYE stop", 8) && strchr(" ", line[8])) end("stop", "");
    if (reason && !strncmp(line, "BYE leave", 9) && strchr(" ", line[9])) gone = 1;
}
static void heard(Link *l, char *line) {
    if (l == outward) {
        if (!strncmp(line, "HELLO 1 ", 8)) l->ready = 1;
        else if (!strncmp(line, "BYE", 3)) bye(line);
        else if (!strncmp(line, "REFUSED", 7)) hang_up(l);
        return;
    }
    int first = l->first;
    l->first = 0;
    if (!strcmp(line, "LOOK") || !strncmp(line, "LOOK ", 5)) {
        l->asks |= first;
        look();
        if (l->asks) status(l);
    } else if (first) {
        const char *why = objection(l, line);
        if (why) { say(l, "REFUSED reason=%s", why); hang_up(l); return; }
        if (inward) hang_up(inward); /* a newer link replaces the older one */
        inward = l;
        hello(l);
        dial_at = 0;
    } else if (l == inward && !strncmp(line, "BYE", 3)) bye(line);
}
static void receive(Link *l) { /* reads coalesce and split; 512 bytes without LF end the connection */
    ssize_t n = recv(l->fd, l->line + l->have, LINE - l->have, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) { hang_up(l); return; }
    l->have += n;
    for (char *lf; l->fd >= 0 && (lf = memchr(l->line, '\n', l->have));) {
        char line[LINE + 1]; size_t len = lf - l->line;
        memcpy(line, l->line, len); line[len] = 0;
        memmove(l->line, lf + 1, l->have -= len + 1);
        if (len && line[len - 1] == '\r') line[len - 1] = 0;
        heard(l, line);
    }
    if (l->fd >= 0 && l->have >= LINE) hang_up(l);
}
static void dial(void) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", file(peer, "sock"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) { close(fd); return; }
    if ((outward = take(fd))) outward->by = 0, hello(outward);
}

/* --- the guard: nothing is started in place of a process that has not been proved dead --- */

static void adopt(int pid, int must_hold) { /* the lock is asked again: the handle is on the holder, not on who got its number later */
    int fd = syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 || (must_hold && holder(peer) != pid)) { if (fd >= 0) close(fd); return; }
    if (peer_fd >= 0) close(peer_fd);
    peer_fd = fd; peer_pid = pid; since = now();
    if (must_hold) gone = 0;
}
static void revive(void) { /* the folder is read again here, after the proof and right before the start */
    char token[33];
    look();
    gone = left();
    if (gone || held() || now() < start_at || now() < begun + !reborn * HEARTBEAT) return; /* it may be just about to start, too */
    unsigned char noise[16]; (void)!syscall(SYS_getrandom, noise, sizeof noise, 0);
    for (int i = 0; i < 16; i++) sprintf(token + 2 * i, "%02x", noise[i]);
    unsigned long long next = number(load(file(peer, "life")), "generation") + 1;
    char rest[500]; snprintf(rest, sizeof rest, "\"token\":\"%s\",\"by\":%s,\"generation\":%llu,\"time\":\"%s\"", token, me, next, stamp());
    store(file(peer, "spawn"), "%s,\"process\":null", rest);
    pid_t pid = fork();
    if (pid < 0) return;
    if (!pid) {
        sigset_t none; sigemptyset(&none); sigprocmask(SIG_SETMASK, &none, NULL);
        setsid();
        umask(mask);
        dup2(open("/dev/null", O_RDONLY), 0);
        dup2(open(file(peer, "log"), O_WRONLY | O_CREAT | O_APPEND, 0600), 1);
        dup2(1, 2);
        setenv("PAIRGUARD_DIR", folder, 1); setenv("PAIRGUARD_REVIVAL", token, 1);
        execvp(command[0], command);
        _exit(127);
    }
    store(file(peer, "spawn"), "%s,\"process\":%s", rest, identity(pid));
    adopt(pid, 0);
    revived += next > 1;
}
static void guard(void) {
    struct pollfd proof = {peer_fd, POLLIN, 0};
    if (peer_fd >= 0 && poll(&proof, 1, 0) == 1) { /* proved dead */
        wait_ms = now() - since >= STABLE ? 0 : wait_ms < 0 ? 0 : wait_ms == 0 ? BACKOFF : 2 * wait_ms < BACKOFF_MAX ? 2 * wait_ms : BACKOFF_MAX;
        start_at = now() + wait_ms;
        waitpid(peer_pid, NULL, WNOHANG); /* ECHILD when it is not ours */
        close(peer_fd);
        peer_fd = -1;
    }
    int pid = holder(peer);
    if (pid && (peer_fd < 0 || pid != peer_pid)) adopt(pid, 1);
    else if (!pid && peer_fd < 0) revive();
}

static void work(void) { /* yours */ }

static void turn(int listener) {
    struct pollfd fds[LINKS + 2] = {{listener, POLLIN, 0}, {tether, POLLIN, 0}};
    for (int i = 0; i < LINKS; i++) fds[i + 2] = (struct pollfd){links[i].fd, POLLIN, 0};
    poll(fds, LINKS + 2, 50);
    if (terminated) {
        store(file(self, "leave"), "\"kind\":\"leave\",\"name\":\"%s\",\"peer\":\"%s\",\"generation\":%llu,\"process\":%s,\"reason\":\"sigterm\",\"time\":\"%s\"",
              self, peer, generation, me, stamp());
        end("leave", "sigterm");
    }
    if (fds[1].revents) close(accept(tether, NULL, NULL));
    for (int i = 0; i < LINKS; i++) {
        if (links[i].fd >= 0 && links[i].fd == fds[i + 2].fd && fds[i + 2].revents) receive(&links[i]);
        if (links[i].fd >= 0 && links[i].first && links[i].by && now() > links[i].by) hang_up(&links[i]);
    }
    if (fds[0].revents) { int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); if (fd >= 0) take(fd); }
    guard();
    if (!outward && now() >= dial_at) { dial_at = now() + HEARTBEAT / 5; dial(); }
    if (outward && outward->ready && now() >= beat_at) { beat_at = now() + HEARTBEAT; say(outward, "BEAT %u health=ok age_ms=0", ++outward->beats); }
}

static void on_term(int s) { (void)s; terminated = 1; }

int main(int argc, char **argv) {
    if (argc < 4) return fputs("usage: member SELF PEER COMMAND [ARG...]\n", stderr), 2;
    self = argv[1]; peer = argv[2]; command = argv + 3;
    mask = umask(077);
    const char *dir = getenv("PAIRGUARD_DIR"), *token = getenv("PAIRGUARD_REVIVAL");
    if (!dir || !*dir) dir = geteuid() ? text("%s/.local/state/pairguard", getpwuid(geteuid())->pw_dir) : "/run/pairguard";
    mkdir(dir, 0700);
    if (!realpath(dir, folder)) die(1, dir);
    snprintf(boot, sizeof boot, "%.36s", load("/proc/sys/kernel/random/boot_id"));
    for (int i = 0; i < LINKS; i++) links[i].fd = -1;
    claim();
    snprintf(me, sizeof me, "%s", identity(getpid()));
    const char *life = load(file(self, "life")), *spawn = load(file(self, "spawn"));
    reborn = token && says(spawn, "token", token) && !says(life, "token", token); /* a token revives once */
    snprintf(used, sizeof used, "%.*s", (int)strcspn(reborn ? token : field(life, "token"), "\""), reborn ? token : field(life, "token"));
    if (!reborn) unlink(stop_file()); /* a person starts us: that ends an earlier stop */
    unsigned long long leave = number(load(file(self, "leave")), "generation");
    generation = number(life, "generation") + 1;
    if (leave >= generation) generation = leave + 1;
    store(file(self, "life"), "\"name\":\"%s\",\"peer\":\"%s\",\"generation\":%llu,\"process\":%s,\"started\":\"%s\",\"revived\":%s,\"token\":\"%s\"",
          self, peer, generation, me, stamp(), reborn ? "true" : "false", used);
    gone = left();
    look(); /* once more, with the name in hand */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(file(self, "sock")) >= sizeof a.sun_path) die(1, "the path of the socket is too long");
    strcpy(a.sun_path, file(self, "sock"));
    unlink(a.sun_path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || chmod(a.sun_path, 0600) || listen(listener, 128)) die(1, strerror(errno));
    struct sigaction term = {.sa_handler = on_term};
    sigaction(SIGTERM, &term, NULL);
    for (begun = now();;) { work(); turn(listener); }
}
