#!/usr/bin/env python3
"""The smallest honest member of a pair: docs/protocol.md and docs/folder.md as a program. Linux, Python 3.9, standard library.

    member.py SELF PEER COMMAND [ARG...]        README.md beside this file says what it does and what it leaves out
"""
import asyncio, fcntl, hashlib, json, os, pwd, re, secrets, select, signal, socket, struct, subprocess, sys, time

HEARTBEAT, BACKOFF, BACKOFF_MAX, STABLE, TICK, MAX_LINE = 1.0, 0.5, 2.0, 10.0, 0.05, 512  # seconds, bytes
SELF, PEER, COMMAND = sys.argv[1], sys.argv[2], sys.argv[3:]
HOME = "/run" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_dir + "/.local/state"
FOLDER = os.path.realpath(os.environ.get("PAIRGUARD_DIR") or HOME + "/pairguard")
STOP = f"{FOLDER}/stop." + "+".join(sorted([SELF, PEER]))
REQUIRED = ("self", "peer", "pid", "gen", "heartbeat_ms", "health")  # of HELLO
BOOT = open("/proc/sys/kernel/random/boot_id").read().strip()


# The folder (docs/folder.md).

def file(name, kind):
    return f"{FOLDER}/{name}.{kind}"


def holder(name):  # §2.1: the kernel names the process that holds the lock; 0: nobody does
    try:
        with open(file(name, "lock")) as f:
            kind, _, _, _, pid = struct.unpack("hhqqi0q", fcntl.fcntl(f, fcntl.F_GETLK, struct.pack("hhqqi0q", fcntl.F_WRLCK, 0, 0, 0, 0)))
        return pid if kind != fcntl.F_UNLCK else 0
    except FileNotFoundError:
        return 0


def claim():  # §2: the lock, the abstract socket, and a look whether that file is still the one at its place
    os.makedirs(FOLDER, 0o700, exist_ok=True)
    folder = os.stat(FOLDER)
    if (folder.st_uid, folder.st_mode & 0o777) != (os.geteuid(), 0o700):
        sys.exit(f"member.py: {FOLDER} must be yours and have mode 0700")
    lock = os.open(file(SELF, "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)  # never opened again, never closed
    tether, digest = socket.socket(socket.AF_UNIX), hashlib.sha256(f"{folder.st_dev}\0{FOLDER}\0{SELF}".encode()).hexdigest()
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tether.bind(f"\0pairguard/{os.geteuid()}/{digest[:32]}")
        tether.listen()
        if os.path.samestat(os.fstat(lock), os.stat(file(SELF, "lock"))):
            return lock, tether
    except OSError:
        pass
    print(f"member.py: the name {SELF} is taken by process {holder(SELF) or '?'}", file=sys.stderr)
    os._exit(100)


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
    start = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[19])
    return {"boot_id": BOOT, "pid_namespace": os.stat("/proc/self/ns/pid").st_ino, "pid": pid, "start": start}


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def left():  # §3.3: the peer's leave counts if it is of its newest life and of this boot, or if that cannot be known
    leave, life = load(file(PEER, "leave")), load(file(PEER, "life"))
    newest = not leave or not life or leave.get("generation") == life.get("generation")
    return os.path.exists(file(PEER, "leave")) and newest and leave.get("process", {}).get("boot_id") in (None, "", BOOT)


def held():  # §3.5: for how many seconds the peer is not to be started
    hold = load(file(PEER, "hold"))
    return max(0, hold["until_boot"] / 1e9 - time.clock_gettime(time.CLOCK_BOOTTIME)) if hold.get("boot_id") == BOOT else 0


# The wire (docs/protocol.md): inward is the link that the peer opened to us, outward the one that we opened and speak on.

def say(link, line):  # §10: to a receiver that does not read, whole lines are dropped
    if link and link.transport.get_write_buffer_size() < 4096:
        link.write(line.encode() + b"\n")


async def lines(reader, patience=None):  # §3.1; §10: the end, an error, or 512 bytes without LF are the end of the link
    try:
        while True:
            yield parse(await asyncio.wait_for(reader.readuntil(), patience))
            patience = None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError, OSError):
        pass


def parse(line):  # §3, §11: the words and the keys; one empty word for a malformed line
    text = line.decode("latin-1")[:-1].removesuffix("\r")
    words = [w for w in text.split(" ") if "=" not in w]
    known = [w.split("=", 1) for w in text.split(" ") if w.partition("=")[0] in REQUIRED + ("reason", "age_ms")]
    bad = not re.fullmatch("[!-~]+( [!-~]+)*", text) or len(dict(known)) < len(known)
    bad = bad or any(re.search("%(?![0-9A-Fa-f]{2})", value) for _, value in known)
    return ([""] if bad or not words else words), dict(known)


def hello():  # §4.1
    return f"HELLO 1 self={SELF} peer={PEER} pid={os.getpid()} gen={generation} heartbeat_ms={HEARTBEAT * 1000:.0f} health=ok"


def status():  # §4.5
    phase = "left" if gone else "reviving" if not peer else "up" if inward else "starting"
    return (f"STATUS 1 self={SELF} pid={os.getpid()} peer={PEER}" + (f" peer_pid={peer.pid}" if peer else "") + f" phase={phase} plain=false "
            f"guards_hang=false gen={generation} revived={revived} held_ms={held() * 1000:.0f}")


def look():  # §4.4: what counts is what is stored
    if os.path.exists(STOP):
        end("BYE stop")


def bye(words):  # §6
    global gone
    gone = gone or words[1:] == ["leave"]
    if words[1:] == ["stop"]:
        end("BYE stop")


def end(word):  # §6: the goodbye is stored by now; a quick word to the peer, and out
    say(outward, word)
    say(inward, word)
    os._exit(0)  # the socket stays; the next holder of the name removes it


def leave():  # SIGTERM
    store(file(SELF, "leave"), kind="leave", name=SELF, peer=PEER, generation=generation, process=me, reason="sigterm", time=now())
    end("BYE leave reason=sigterm")


def objection(pid, words, keys):  # §5, §8, §9
    if words[0] != "HELLO":
        return "say HELLO"
    if words[1:2] != ["1"]:
        return "this is version 1"
    if not all(keys.get(key) for key in REQUIRED) or (keys["self"], keys["peer"]) != (PEER, SELF):
        return f"{SELF} guards {PEER}"
    return f"process {pid} does not hold the name {PEER}" if holder(PEER) != pid else None


async def serve(reader, link):  # §5: a connection that somebody opened to us
    global inward
    pid, uid, _ = struct.unpack("3i", link.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    asks = False  # it is an operator's
    async for words, keys in lines(reader, 10):
        if uid not in (0, os.geteuid()):
            break
        if words[0] == "LOOK":
            look()
            if asks := link is not inward:
                say(link, status())
        elif words[0] == "BYE" and link is inward:
            bye(words)
        elif not asks and link is not inward:
            if why := objection(pid, words, keys):
                say(link, "REFUSED reason=" + why.replace(" ", "%20"))
                break
            if inward:
                inward.close()  # §2: a newer link replaces the older one
            inward = link
            say(link, hello())
    link.close()
    if link is inward:
        inward = None


async def converse():  # §2: our own link; lost, it is opened again
    global outward, beats
    while True:
        try:
            reader, outward = await asyncio.open_unix_connection(file(PEER, "sock"), limit=MAX_LINE - 1)
            say(outward, hello())
            async for words, _ in lines(reader):
                if words[0] == "HELLO":
                    beats = beats or 1  # answered: BEATs follow
                elif words[0] == "BYE":
                    bye(words)
            outward.close()
        except OSError:
            pass
        outward, beats = None, 0
        await asyncio.sleep(HEARTBEAT / 5)


# The guard: nothing is started in place of a process that has not been proved dead.

class Process:
    def __init__(self, pid):
        self.pid, self.fd, self.since, self.child = pid, os.pidfd_open(pid), time.monotonic(), None

    def dead(self):  # the kernel's proof
        return bool(select.select([self.fd], [], [], 0)[0])


def guard():
    global peer, gone, wait, start_at
    if peer and peer.dead():
        steady = wait is None or time.monotonic() - peer.since >= STABLE
        wait = 0 if steady else min(BACKOFF_MAX, wait * 2 or BACKOFF)  # docs/restart.md
        start_at = time.monotonic() + wait
        os.close(peer.fd)
        if peer.child:
            peer.child.poll()
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
    if gone or held() or time.monotonic() < start_at:
        return
    token, generation = secrets.token_hex(16), load(file(PEER, "life")).get("generation", 0) + 1
    spawn = dict(token=token, by=me, generation=generation, time=now())
    store(file(PEER, "spawn"), process=None, **spawn)
    with open(file(PEER, "log"), "ab") as log:
        child = subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, umask=umask,
                                 env={**os.environ, "PAIRGUARD_DIR": FOLDER, "PAIRGUARD_REVIVAL": token})
    peer, revived = Process(child.pid), revived + (generation > 1)
    peer.child = child
    store(file(PEER, "spawn"), process=identity(child.pid), **spawn)


async def main():
    global beats, start_at
    server = await asyncio.start_unix_server(serve, file(SELF, "sock"), limit=MAX_LINE - 1)  # removes a stale socket
    os.chmod(file(SELF, "sock"), 0o600)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave)
    conversation = asyncio.create_task(converse())
    beat_at = 0
    while server.is_serving() and not conversation.done():
        try:
            guard()
        except OSError as error:  # it has just died, the disk is full, the command is not there: tried again
            print(f"member.py: {error}", file=sys.stderr)
            start_at = time.monotonic() + BACKOFF_MAX
        if beats and time.monotonic() >= beat_at:
            say(outward, f"BEAT {beats} health=ok age_ms=0")
            beats, beat_at = beats + 1, time.monotonic() + HEARTBEAT
        await asyncio.sleep(TICK)  # the work of a program of yours belongs into this loop, so that a hang of it silences the heartbeat


umask = os.umask(0o077)
locks, me = claim(), identity(os.getpid())
life, token = load(file(SELF, "life")), os.environ.get("PAIRGUARD_REVIVAL")
reborn = bool(token) and load(file(SELF, "spawn")).get("token") == token != life.get("token")  # a token revives once
if not reborn and os.path.exists(STOP):
    os.unlink(STOP)  # a person starts us: that ends an earlier stop
generation = max(load(file(SELF, kind)).get("generation", 0) for kind in ("life", "leave")) + 1
store(file(SELF, "life"), name=SELF, peer=PEER, generation=generation, process=me, started=now(), revived=reborn,
      token=token if reborn else life.get("token", ""))
inward = outward = peer = wait = None
gone, revived, beats = left(), 0, 0
start_at = time.monotonic() + (0 if reborn else HEARTBEAT)  # a person may be just about to start the peer, too
look()  # once more, with the name in hand
asyncio.run(main())
