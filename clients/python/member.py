#!/usr/bin/env python3
"""The smallest honest member of a pair: docs/protocol.md and docs/folder.md as a program. Linux, Python 3.9, standard library.

    member.py SELF PEER COMMAND [ARG...]

It is SELF and keeps PEER alive, which COMMAND starts. It is guarded against death and hanging; it guards PEER against death
alone, and its STATUS says so. SIGTERM is a leave. work() is where a program of your own does its work: the heartbeat comes from
the same loop, so that it stops when the work hangs.
"""
import fcntl, hashlib, json, os, pwd, re, select, signal, socket, struct, subprocess, sys, threading, time

HEARTBEAT, BACKOFF, BACKOFF_MAX, STABLE = 1.0, 0.5, 2.0, 10.0
SELF, PEER, COMMAND = sys.argv[1], sys.argv[2], sys.argv[3:]
HOME = "/run" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_dir + "/.local/state"
FOLDER = os.path.realpath(os.environ.get("PAIRGUARD_DIR") or HOME + "/pairguard")
STOP = f"{FOLDER}/stop." + "+".join(sorted([SELF, PEER]))
REQUIRED = {"self", "peer", "pid", "gen", "heartbeat_ms", "health"}
file = f"{FOLDER}/%s.%s".__mod__


# The folder (docs/folder.md).

def holder(name):  # §2.1: the kernel names the process that holds the lock; 0: nobody does
    try:
        with open(file((name, "lock"))) as f:
            asked = fcntl.fcntl(f, fcntl.F_GETLK, struct.pack("hhqqi0q", fcntl.F_WRLCK, 0, 0, 0, 0))
    except FileNotFoundError:
        return 0
    kind, _, _, _, pid = struct.unpack("hhqqi0q", asked)
    return pid if kind != fcntl.F_UNLCK else 0


def claim():  # §2: the lock file, the abstract socket, and a look whether that file is still the one at its place
    os.makedirs(FOLDER, 0o700, exist_ok=True)
    if (os.stat(FOLDER).st_uid, os.stat(FOLDER).st_mode & 0o777) != (os.geteuid(), 0o700):
        sys.exit(f"member.py: {FOLDER} must be yours and have mode 0700")
    lock = os.open(file((SELF, "lock")), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)  # never opened again, never closed
    digest = hashlib.sha256(f"{os.stat(FOLDER).st_dev}\0{FOLDER}\0{SELF}".encode()).hexdigest()
    tether = socket.socket(socket.AF_UNIX)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for last in [False] * 50 + [True]:  # a child of the dead holder may keep it until its exec
            try:
                tether.bind(f"\0pairguard/{os.geteuid()}/{digest[:32]}")
                break
            except OSError:
                if last:
                    raise
                time.sleep(0.02)
        tether.listen()
        assert os.path.samestat(os.fstat(lock), os.stat(file((SELF, "lock"))))
    except (OSError, AssertionError):
        print(f"member.py: the name {SELF} is taken by process {holder(SELF) or '?'}", file=sys.stderr)
        os._exit(100)
    return lock, tether


def load(path):  # §3: what cannot be read is empty; that it exists may count all the same
    try:
        with open(path) as f:
            record = json.load(f)
        return record if record["version"] == 1 else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def store(path, **record):  # §3: written aside, then renamed; the rename is the instant
    with open(f"{FOLDER}/~{os.path.basename(path)}.{os.getpid()}.tmp", "w") as f:
        f.write(json.dumps({"version": 1, **record}) + "\n")
        f.flush()
        os.fsync(f.fileno())
    os.rename(f.name, path)


def identity(pid):  # §3.1
    return {"boot_id": open("/proc/sys/kernel/random/boot_id").read().strip(), "pid_namespace": os.stat("/proc/self/ns/pid").st_ino,
            "pid": pid, "start": int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[19])}


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def left():  # §3.3: the peer's leave counts if it is of its newest life and of this boot, or if that cannot be known
    leave, life = load(file((PEER, "leave"))), load(file((PEER, "life")))
    newest = not leave or not life or leave["generation"] == life["generation"]
    return os.path.exists(file((PEER, "leave"))) and newest and leave.get("process", {}).get("boot_id") in (None, "", me["boot_id"])


def held():  # §3.5: for how many seconds the peer is not to be revived
    hold = load(file((PEER, "hold")))
    mine = hold.get("boot_id") == me["boot_id"]
    return max(0.0, hold["until_boot"] / 1e9 - time.clock_gettime(time.CLOCK_BOOTTIME)) if mine else 0.0


# The wire (docs/protocol.md).

class Link:
    def __init__(self, sock):
        self.sock, self.ready, self.beats = sock, False, 0
        self.pid, self.uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))

    def send(self, line):  # §10: what does not fit is dropped, whole lines at a time
        try:
            self.sock.send(line.encode() + b"\n", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            pass

    def lines(self):  # §3.1; 512 bytes without LF, an end or an error are the end of the link
        try:
            with self.sock, self.sock.makefile("rb") as stream:
                while self.uid in (0, os.geteuid()) and (line := stream.readline(512)).endswith(b"\n"):
                    self.sock.settimeout(None)
                    yield parse(line.decode("latin-1").rstrip("\r\n"))
        except OSError:
            pass


def parse(line):  # §3, §11: the words and the keys; ("", ...) for a line that is not one
    words = [w for w in line.split(" ") if "=" not in w]
    pairs = [w.split("=", 1) for w in line.split(" ") if "=" in w]
    known = [pair for pair in pairs if pair[0] in REQUIRED | {"reason", "age_ms"}]
    ok = line.isascii() and line.isprintable() and "" not in words and len(dict(known)) == len(known)
    ok = ok and not any(re.search("%(?![0-9A-Fa-f]{2})", value) for _, value in known)
    return (words if ok and words else [""]), dict(pairs)


def hello():  # §4.1
    return f"HELLO 1 self={SELF} peer={PEER} pid={os.getpid()} gen={generation} heartbeat_ms={HEARTBEAT * 1000:.0f} health=ok"


def status():  # §4.5
    there, phase = (f" peer_pid={peer.pid}", "up" if inward else "starting") if peer else ("", "left" if gone else "reviving")
    return (f"STATUS 1 self={SELF} pid={os.getpid()} peer={PEER}{there} phase={phase} plain=false guards_hang=false "
            f"gen={generation} revived={revived} held_ms={held() * 1000:.0f}")


def look():  # §4.4: what counts is what is stored
    if os.path.exists(STOP):
        end("stop")


def end(kind, reason=""):  # §6: the goodbye is stored by now; a quick word to the peer, and out
    for link in (outward, inward):
        if link:
            link.send(f"BYE {kind} reason={reason}")
    os.unlink(file((SELF, "sock")))
    os._exit(0)


def leave(*_):  # SIGTERM
    store(file((SELF, "leave")), kind="leave", name=SELF, peer=PEER, generation=generation, process=me, reason="sigterm", time=now())
    end("leave", "sigterm")


def bye(words):
    global gone
    gone = gone or words[1:] == ["leave"]
    if words[1:] == ["stop"]:
        end("stop")


def serve(link):  # §5: a connection that somebody opened to us
    global inward
    link.sock.settimeout(10)
    first = True
    for words, keys in link.lines():
        if words[0] == "LOOK":
            look()
            if link is not inward:
                link.send(status())
        elif words[0] == "BYE" and link is inward:
            bye(words)
        elif words[0] == "HELLO" and link is not inward:
            if why := objection(link, words, keys):
                return link.send("REFUSED reason=" + why.replace(" ", "%20"))
            if inward:
                inward.sock.shutdown(socket.SHUT_RDWR)  # §2: a newer link replaces the older one
            link.send(hello())
            inward = link
        elif first:
            return link.send("REFUSED reason=say%20HELLO")
        first = False
    if link is inward:
        inward = None


def objection(link, words, keys):  # §8, §9
    if words[1:2] != ["1"]:
        return f"version {words[1:2]} is not spoken here, this is version 1"
    if not REQUIRED <= keys.keys() or (keys["self"], keys["peer"]) != (PEER, SELF):
        return f"{SELF} guards {PEER}"
    if holder(PEER) != link.pid:
        return f"process {link.pid} does not hold the name {PEER}"


def converse():  # §2: our own link, on which we speak
    global outward
    while True:
        try:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(file((PEER, "sock")))
            outward = Link(sock)
            outward.send(hello())
            for words, keys in outward.lines():
                if words[0] == "HELLO":
                    outward.ready = True
                elif words[0] == "BYE":
                    bye(words)
        except OSError:
            sock.close()
        outward = None
        time.sleep(HEARTBEAT / 5)


# The guard: nothing is started in place of a process that has not been proved dead.

class Process:
    def __init__(self, pid):
        self.pid, self.fd, self.since = pid, os.pidfd_open(pid), time.monotonic()

    def dead(self):
        return bool(select.select([self.fd], [], [], 0)[0])


def guard():
    global peer, gone, wait, start_at
    if peer and peer.dead():
        wait = 0 if time.monotonic() - peer.since >= STABLE else min(BACKOFF_MAX, wait * 2 or BACKOFF) if start_at else 0
        start_at = time.monotonic() + wait
        os.close(peer.fd)
        peer = None
    pid = holder(PEER)
    if pid and (not peer or pid != peer.pid):
        found = Process(pid)
        if holder(PEER) == pid:  # asked again: the handle is on the holder, not on who got its number later
            peer, gone = found, False
    elif not peer and not pid:
        revive()


def revive():  # the folder is read again here, after the proof and right before the start
    global peer, gone, revived
    look()
    gone = left()
    if gone or held() or time.monotonic() < max(start_at, begun + (not reborn) * HEARTBEAT):  # it may be just about to start, too
        return
    token, generation = os.urandom(16).hex(), load(file((PEER, "life"))).get("generation", 0) + 1
    spawn = dict(token=token, by=me, generation=generation, time=now())
    store(file((PEER, "spawn")), process=None, **spawn)
    with open(file((PEER, "log")), "ab") as log:
        child = subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                 env={**os.environ, "PAIRGUARD_DIR": FOLDER, "PAIRGUARD_REVIVAL": token})
    peer, revived = Process(child.pid), revived + (generation > 1)
    store(file((PEER, "spawn")), process=identity(child.pid), **spawn)
    threading.Thread(target=child.wait, daemon=True).start()


def work():
    time.sleep(0.05)


os.umask(0o077)
locks, me = claim(), identity(os.getpid())
token = os.environ.get("PAIRGUARD_REVIVAL")
life = load(file((SELF, "life")))
reborn = bool(token) and load(file((SELF, "spawn"))).get("token") == token != life.get("token")  # a token revives once
if not reborn and os.path.exists(STOP):
    os.unlink(STOP)  # a person starts us: that ends an earlier stop
generation = max(load(file((SELF, ext))).get("generation", 0) for ext in ("life", "leave")) + 1
store(file((SELF, "life")), name=SELF, peer=PEER, generation=generation, process=me, started=now(), revived=reborn,
      token=token if reborn else life.get("token", ""))
inward = outward = peer = None
gone, revived, wait, start_at, beat_at = left(), 0, 0.0, 0.0, 0.0
look()  # once more, with the name in hand
if os.path.exists(file((SELF, "sock"))):
    os.unlink(file((SELF, "sock")))
listener = socket.socket(socket.AF_UNIX)
listener.bind(file((SELF, "sock")))
os.chmod(file((SELF, "sock")), 0o600)
listener.listen(128)
signal.signal(signal.SIGTERM, leave)


def answer():
    while True:
        threading.Thread(target=serve, args=(Link(listener.accept()[0]),), daemon=True).start()


threading.Thread(target=answer, daemon=True).start()
threading.Thread(target=converse, daemon=True).start()
begun = time.monotonic()
while True:
    work()
    guard()
    if time.monotonic() >= beat_at and outward and outward.ready:
        beat_at, outward.beats = time.monotonic() + HEARTBEAT, outward.beats + 1
        outward.send(f"BEAT {outward.beats} health=ok age_ms=0")
