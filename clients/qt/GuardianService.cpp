// See GuardianService.h. The sections named here are those of docs/protocol.md and docs/folder.md of pairguard.
#include "GuardianService.h"

#include <QCoreApplication>
#include <QCryptographicHash>
#include <QDateTime>
#include <QDir>
#include <QElapsedTimer>
#include <QFile>
#include <QFileInfo>
#include <QJsonDocument>
#include <QJsonObject>
#include <QLocalServer>
#include <QLocalSocket>
#include <QMetaEnum>
#include <QProcess>
#include <QProcessEnvironment>
#include <QRandomGenerator>
#include <QRegularExpression>
#include <QSocketNotifier>
#include <QTimer>
#include <QUuid>
#include <QVector>

#ifdef Q_OS_LINUX
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <ctime>
#include <unistd.h>

namespace {

const int maxLine = 512;
const int maxQueued = 4096;       // bytes kept for a receiver that does not read (§10)
const int introduction = 10000;   // ms that a new connection has for its first line (§10)
const int maxStrangers = 64;      // connections that have not said it (§10)
const int confirmation = 200;     // ms that a suspect is probed before the last call
const int unsureLimit = 30000;    // ms; a suspect of which nothing can be seen is judged by time
const int attention = 50;         // ms between two looks at a suspect, so that our own lateness shows
const int lateSlack = 20;         // ms; a timer that comes later than this was late
const int redialFirst = 10;       // ms
const int startTimeout = 10000;   // ms; a start that takes longer is reported
const int resurvey = 200;         // ms until an unclear folder or lock is read again
const int nameCheck = 2000;       // ms between two looks whether the name is still ours
const int maxEventLog = 1 << 20;  // bytes
const int maxOutput = 10 << 20;   // bytes

const quint64 maxGeneration = quint64(1) << 53; // what JSON numbers hold here; above it is damage

QByteArray readAll(const QString &path, qint64 limit = 65536)
{
    QByteArray bytes;
    const int fd = ::open(QFile::encodeName(path).constData(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return bytes;
    char buffer[4096];
    for (ssize_t n; bytes.size() < limit && (n = ::read(fd, buffer, sizeof buffer)) > 0;)
        bytes.append(buffer, int(n));
    ::close(fd);
    return bytes;
}

bool exists(const QString &path)
{
    struct stat at;
    return ::lstat(QFile::encodeName(path).constData(), &at) == 0;
}

bool withoutPidfd() { return qgetenv("PAIRGUARD_TEST_WITHOUT").split(',').contains("pidfd"); } // tests play an older kernel

// The fields of /proc/PID/stat from the third on; empty when there is no such process.
QList<QByteArray> processFields(const QByteArray &file)
{
    const QByteArray stat = readAll(QString::fromLatin1(file));
    const int end = int(stat.lastIndexOf(')'));
    return end < 0 ? QList<QByteArray>() : stat.mid(end + 2).simplified().split(' ');
}

// One process, beyond the reuse of its number.
class Process
{
public:
    Process() = default;
    ~Process() { close(); }
    Q_DISABLE_COPY(Process)

    bool open(qint64 pid)
    {
        close();
        const QList<QByteArray> fields = processFields("/proc/" + QByteArray::number(pid) + "/stat");
        if (fields.size() < 20)
            return false;
        m_start = fields.at(19).toULongLong();
        m_fd = withoutPidfd() ? -1 : int(::syscall(434 /* pidfd_open, Linux 5.3 */, pid_t(pid), 0));
        if (m_fd < 0 && errno == ESRCH)
            return false;
        m_pid = pid;
        return !dead();
    }

    // Proved by the kernel; a zombie is dead.
    bool dead() const
    {
        if (m_fd >= 0) {
            struct pollfd proof = {m_fd, POLLIN, 0};
            return ::poll(&proof, 1, 0) == 1;
        }
        const QList<QByteArray> fields = processFields("/proc/" + QByteArray::number(m_pid) + "/stat");
        return fields.size() < 20 || fields.at(19).toULongLong() != m_start || fields.at(0) == "Z" || fields.at(0) == "X";
    }

    void signal(int number)
    {
        if (m_fd >= 0)
            ::syscall(424 /* pidfd_send_signal, Linux 5.1 */, m_fd, number, nullptr, 0);
        else if (m_pid > 0 && !dead())
            ::kill(pid_t(m_pid), number);
    }

    void close()
    {
        if (m_fd >= 0)
            ::close(m_fd);
        m_fd = -1;
        m_pid = 0;
    }

    qint64 pid() const { return m_pid; }
    quint64 start() const { return m_start; }
    int descriptor() const { return m_fd; }

private:
    qint64 m_pid = 0;
    quint64 m_start = 0;
    int m_fd = -1;
};

QString bootId() { return QString::fromLatin1(readAll(QStringLiteral("/proc/sys/kernel/random/boot_id")).trimmed()); }

quint64 pidNamespace()
{
    struct stat at;
    return ::stat("/proc/self/ns/pid", &at) == 0 ? quint64(at.st_ino) : 0;
}

QJsonObject identity(qint64 pid, quint64 start)
{
    return QJsonObject{{QStringLiteral("boot_id"), bootId()}, {QStringLiteral("pid_namespace"), double(pidNamespace())},
                       {QStringLiteral("pid"), double(pid)}, {QStringLiteral("start"), double(start)}};
}

QString now() { return QDateTime::currentDateTimeUtc().toString(Qt::ISODateWithMs); }

// A value as protocol.md §3.2 wants it, cut so that the line stays below its limit.
QByteArray encoded(const QString &text, int limit = 300)
{
    QByteArray out;
    for (const QChar *c = text.constData(), *end = c + text.size(); c < end; c++) {
        QString one(*c);
        if (c->isHighSurrogate() && c + 1 < end)
            one += *++c;
        QByteArray piece;
        for (const char byte : one.toUtf8()) {
            const uchar b = uchar(byte);
            if (b > 0x20 && b < 0x7f && b != '%' && b != '=')
                piece += byte;
            else
                piece += '%' + QByteArray(1, byte).toHex().toUpper();
        }
        if (out.size() + piece.size() > limit)
            break;
        out += piece;
    }
    return out;
}

// A name as §3.3 wants it.
QByteArray written(const QString &name)
{
    const QByteArray whole = encoded(name, maxLine);
    return whole.size() <= 128 ? whole : '~' + QCryptographicHash::hash(name.toUtf8(), QCryptographicHash::Sha256).toHex().left(32);
}

// One line, taken apart (protocol.md §3, §4, §11).
struct Line
{
    QByteArray word;
    QList<QByteArray> fixed; // words without '=' after the first
    QHash<QByteArray, QString> keys;
    bool good = false;

    explicit Line(const QByteArray &text)
    {
        static const QList<QByteArray> known = {"self", "peer", "pid", "gen", "heartbeat_ms", "health", "age_ms", "reason"};
        const QList<QByteArray> words = text.split(' ');
        word = words.first();
        good = !word.isEmpty();
        for (const char c : text)
            good = good && c >= 0x20 && c < 0x7f;
        for (int i = 1; i < words.size(); i++) {
            const int at = int(words.at(i).indexOf('='));
            const QByteArray key = words.at(i).left(qMax(at, 0));
            if (words.at(i).isEmpty() || (at >= 0 && known.contains(key) && (keys.contains(key) || !decode(key, words.at(i).mid(at + 1)))))
                good = false;
            else if (at < 0)
                fixed.append(words.at(i));
        }
    }

    bool has(std::initializer_list<const char *> required) const
    {
        for (const char *key : required)
            if (keys.value(key).isEmpty())
                return false;
        return good;
    }

    // A number without a sign.
    bool number(const char *key, quint64 *value) const
    {
        const QString text = keys.value(key);
        bool ok = !text.isEmpty();
        for (const QChar c : text)
            ok = ok && c >= QLatin1Char('0') && c <= QLatin1Char('9');
        if (ok)
            *value = text.toULongLong(&ok);
        return ok;
    }

private:
    bool decode(const QByteArray &key, const QByteArray &value)
    {
        for (int i = int(value.indexOf('%')); i >= 0; i = int(value.indexOf('%', i + 1))) {
            bool ok = value.size() > i + 2;
            if (ok)
                value.mid(i + 1, 2).toUInt(&ok, 16);
            if (!ok)
                return false;
        }
        keys.insert(key, QString::fromUtf8(QByteArray::fromPercentEncoding(value)));
        return true;
    }
};

// One connection. The kernel says who is at its other end.
class Link : public QObject
{
public:
    Link(QLocalSocket *socket, bool inbound, QObject *parent) : QObject(parent), socket(socket), inbound(inbound) { socket->setParent(this); }

    bool identify()
    {
        struct ucred who;
        socklen_t size = sizeof who;
        if (::getsockopt(int(socket->socketDescriptor()), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
            return false;
        pid = who.pid;
        return who.uid == 0 || who.uid == ::geteuid();
    }

    // A line is never torn: what is kept for a slow receiver is kept whole, or dropped.
    void send(const QByteArray &line)
    {
        if (gone || socket->bytesToWrite() + line.size() + 1 > maxQueued)
            return;
        socket->write(line + '\n');
        socket->flush();
    }

    QLocalSocket *socket;
    const bool inbound;
    qint64 pid = 0;
    QByteArray buffer;
    bool introduced = false; // its first line has come
    bool looks = false;      // it is an operator's
    bool open = false;       // our HELLO was answered
    bool probe = false;
    bool gone = false;
    quint64 beats = 0;
};

// The signals of the process, as bytes in a socket that the event loop reads.
int signalPair[2] = {-1, -1};

extern "C" void guardianSignal(int number)
{
    const char byte = char(number);
    const int kept = errno;
    (void)!::write(signalPair[1], &byte, 1);
    errno = kept;
}

} // namespace

class GuardianService::Private : public QObject
{
public:
    explicit Private(GuardianService *q) : q(q)
    {
        m_clock.start();
        for (QTimer *t : {&m_judge, &m_phaseTimer, &m_dial, &m_holdTimer})
            t->setSingleShot(true);
        for (QTimer *t : {&m_judge, &m_phaseTimer, &m_dial, &m_beat})
            t->setTimerType(Qt::PreciseTimer);
        connect(&m_judge, &QTimer::timeout, this, [this] { judge(); });
        connect(&m_phaseTimer, &QTimer::timeout, this, [this] { phaseOver(); });
        connect(&m_dial, &QTimer::timeout, this, [this] { dial(false); });
        connect(&m_beat, &QTimer::timeout, this, [this] { beat(); });
        connect(&m_check, &QTimer::timeout, this, [this] { lookAfterName(); });
        connect(&m_poll, &QTimer::timeout, this, [this] { lookForDeath(); });
        connect(&m_holdTimer, &QTimer::timeout, this, [this] { look(); });
        connect(&m_server, &QLocalServer::newConnection, this, [this] {
            while (QLocalSocket *socket = m_server.nextPendingConnection())
                meet(socket);
        });
    }

    ~Private() override { releaseName(); }

    bool init(const QString &self, const QString &peer, const QString &executable, const QStringList &arguments);
    void end(const QString &kind, const QString &reason, bool ours);
    void suspend();

    GuardianService *const q;
    QString m_self, m_peer, m_executable, m_folder, m_error;
    QString m_selfKey, m_peerKey, m_selfPath, m_peerPath; // what their files are called, and where they listen
    QStringList m_arguments;
    int m_heartbeat = 1000, m_timeout = 2000, m_grace = 5000, m_backoff = 500, m_backoffMax = 2000, m_stable = 10000;
    bool m_quitWhenEnded = true, m_taken = false;

    Phase m_phase = Idle;
    Process m_process; // the peer's; pid() is 0 when there is none
    quint64 m_generation = 0, m_revived = 0;

private:
    // The folder (folder.md).
    QString file(const QString &key, const char *ext) const { return m_folder + QLatin1Char('/') + key + QLatin1String(ext); }
    QString stopFile() const
    {
        QStringList keys{m_selfKey, m_peerKey};
        keys.sort();
        return m_folder + QStringLiteral("/stop.") + keys.join(QLatin1Char('+'));
    }
    bool place(const QString &name, QString *key, QString *path);
    bool openFolder();
    bool claim();
    bool holdTether(int patience);
    QByteArray tetherName() const;
    void releaseName();
    bool lockFile(int *fd, qint64 *heldBy) const;
    bool lockInPlace(int fd) const;
    qint64 holder(const QString &key) const;
    QJsonObject load(const QString &path) const;
    bool store(const QString &path, QJsonObject record, bool durable = true);
    bool beginLife();
    bool peerLeft() const;
    qint64 heldFor(const QString &key) const;
    bool listen();
    void lookAfterName();
    void lost(const QString &why);

    // Links (protocol.md §2, §5).
    void meet(QLocalSocket *socket);
    void watch(Link *link);
    void receive(Link *link);
    void heard(Link *link, const QByteArray &text);
    void introduce(Link *link, const Line &line);
    void greeted(Link *link, const Line &line);
    QString objection(const Link *link, const Line &line) const;
    void refuse(Link *link, const QString &why);
    void bye(Link *link, const Line &line);
    void close(Link *link);
    void lostLink(Link *link);
    void dropLinks();
    void dial(bool probe);
    void dialLater();
    bool wantsOut() const { return !m_out && (m_phase == Seeking || m_phase == Starting || m_phase == Up || m_phase == Suspect); }
    void beat();
    QByteArray hello() const;
    QByteArray status() const;
    void look();

    // The guard.
    void enter(Phase phase, int patience = -1);
    void phaseOver();
    bool engaged() const { return m_phase == Starting || m_phase == Up || m_phase == Suspect || m_phase == Fencing; }
    bool adopt(qint64 pid, bool mustHold);
    void follow();
    void recognise(qint64 pid);
    void sign(qint64 age);
    void armJudge(qint64 ms);
    void judge();
    void lookAgain(bool lastCall);
    enum Finding { CouldRun, Starved, Stopped, Unsure };
    Finding examine(QString *why);
    bool frozen() const;
    void suspect(const QString &why);
    quint64 cpu() const;
    void hung(const QString &why);
    void lookForDeath();
    void died();
    void mourn();
    void survey();
    void startPeer();
    void startOverdue();
    void setHold(qint64 ms);
    void finish();
    void tell(const char *event, const QString &reason = QString(), double afterMs = -1);
    qint64 silence() const { return m_clock.elapsed() - m_lastSign - m_credit; }

    QElapsedTimer m_clock; // stands still while the machine is suspended
    QTimer m_judge, m_phaseTimer, m_dial, m_beat, m_check, m_poll, m_holdTimer;
    QLocalServer m_server;
    QSocketNotifier *m_proof = nullptr, *m_tetherNotifier = nullptr;
    int m_lock = -1, m_tether = -1, m_strangers = 0;
    bool m_reborn = false;
    QList<Link *> m_links;
    Link *m_in = nullptr, *m_out = nullptr, *m_probe = nullptr;
    int m_redial = redialFirst, m_refusals = 0, m_failures = 0, m_starts = 0, m_window = startTimeout;
    quint64 m_peerGeneration = 0;
    bool m_spoke = false, m_listens = false, m_reported = false, m_speaker = false, m_lastCall = false, m_lateTold = false, m_held = false;
    qint64 m_since = 0, m_lastSign = 0, m_credit = 0, m_judgeDue = 0, m_startAt = 0, m_noticed = -1, m_heldUntil = 0;
    quint64 m_cpu = 0;     // of the peer when it became suspect
    quint32 m_looks = 0;   // the last six looks, a bit each: it could run
    Finding m_found = CouldRun;
    qint64 m_suspectAt = 0;
    QString m_unwell, m_kind, m_reason;
    bool m_ours = false, m_killed = false;
};

// --- the folder -----------------------------------------------------------------------------------------------------------

bool GuardianService::Private::openFolder()
{
    if (m_folder.isEmpty())
        m_folder = QFile::decodeName(qgetenv("PAIRGUARD_DIR"));
    if (m_folder.isEmpty() && ::geteuid() == 0)
        m_folder = QStringLiteral("/run/pairguard");
    if (m_folder.isEmpty()) {
        const struct passwd *user = ::getpwuid(::geteuid());
        m_folder = (user ? QFile::decodeName(user->pw_dir) : QDir::homePath()) + QStringLiteral("/.local/state/pairguard");
    }
    m_folder = QDir::cleanPath(QDir::current().absoluteFilePath(m_folder));
    const QFileInfo info(m_folder);
    QDir().mkpath(info.path());
    m_folder = QFileInfo(info.path()).canonicalFilePath() + QLatin1Char('/') + info.fileName();
    const QByteArray path = QFile::encodeName(m_folder);
    if (::mkdir(path.constData(), 0700) == 0)
        ::chmod(path.constData(), 0700);
    struct stat at;
    if (::lstat(path.constData(), &at) != 0 || !S_ISDIR(at.st_mode)) {
        m_error = QStringLiteral("folder %1: %2; choose another with PAIRGUARD_DIR").arg(m_folder, QString::fromLocal8Bit(::strerror(errno)));
        return false;
    }
    if (at.st_uid != ::geteuid() || (at.st_mode & 0777) != 0700) {
        m_error = QStringLiteral("folder %1: must belong to you and have mode 0700; run: chmod 700 '%1'").arg(m_folder);
        return false;
    }
    return true;
}

// protocol.md §1.3 and folder.md §1: an ordinary name, an address as it is, or qt:NAME, where QLocalServer puts NAME.
bool GuardianService::Private::place(const QString &name, QString *key, QString *path)
{
    static const QRegularExpression ordinary(QStringLiteral("\\A(?!\\.\\.?\\z)[A-Za-z0-9._-]{1,64}\\z"));
    static const QRegularExpression qt(QStringLiteral("\\Aqt:(?!\\.\\.?\\z)[^/\\p{C}]+\\z")), address(QStringLiteral("\\A/[^\\p{C}]*[^/\\p{C}]\\z"));
    if (ordinary.match(name).hasMatch()) {
        *key = name;
        *path = file(name, ".sock");
    } else if (qt.match(name).hasMatch()) {
        const QString temporary = QFile::decodeName(qgetenv("TMPDIR"));
        *path = QDir::cleanPath((temporary.isEmpty() ? QStringLiteral("/tmp") : temporary) + QLatin1Char('/') + name.mid(3));
    } else if (address.match(name).hasMatch()) {
        *path = QDir::cleanPath(name);
    } else {
        m_error = QStringLiteral("name \"%1\": use letters, digits, '.', '_', '-', at most 64; or qt:NAME; or the path of a socket").arg(name);
        return false;
    }
    const QByteArray local = QFile::encodeName(*path);
    if (local.size() > int(sizeof(sockaddr_un::sun_path)) - 1 || !local.startsWith('/')) {
        m_error = QStringLiteral("name \"%1\": its socket %2 has %3 bytes, Linux allows 107 of an absolute path: choose a shorter folder or name")
                      .arg(name, *path).arg(local.size());
        return false;
    }
    const QString last = path->mid(path->lastIndexOf(QLatin1Char('/')) + 1), stem = last.left(last.size() - 5);
    if (last.endsWith(QLatin1String(".sock")) && *path == file(stem, ".sock") && ordinary.match(stem).hasMatch())
        *key = stem; // another way to write an ordinary name
    else if (key->isEmpty())
        *key = QString(last).replace(QRegularExpression(QStringLiteral("[^A-Za-z0-9._-]"), QRegularExpression::UseUnicodePropertiesOption), QStringLiteral("_")).left(32)
            + QLatin1Char('@') + QString::fromLatin1(QCryptographicHash::hash(local, QCryptographicHash::Sha256).toHex().left(20));
    return true;
}

// folder.md §2.1. Opened once and never again in this process: closing any descriptor of the file would drop the lock.
bool GuardianService::Private::lockFile(int *fd, qint64 *heldBy) const
{
    *heldBy = 0;
    *fd = ::open(QFile::encodeName(file(m_selfKey, ".lock")).constData(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (*fd < 0)
        return false;
    struct flock lock;
    ::memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    if (::fcntl(*fd, F_SETLK, &lock) == 0)
        return true;
    if (::fcntl(*fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
        *heldBy = lock.l_pid > 0 ? lock.l_pid : -1;
    ::close(*fd);
    *fd = -1;
    return false;
}

bool GuardianService::Private::lockInPlace(int fd) const
{
    struct stat held, there;
    return ::fstat(fd, &held) == 0 && ::lstat(QFile::encodeName(file(m_selfKey, ".lock")).constData(), &there) == 0
        && held.st_dev == there.st_dev && held.st_ino == there.st_ino;
}

QByteArray GuardianService::Private::tetherName() const
{
    struct stat at;
    ::memset(&at, 0, sizeof at);
    const QByteArray folder = QFile::encodeName(m_folder);
    ::stat(folder.constData(), &at);
    const QByteArray seed = QByteArray::number(qulonglong(at.st_dev)) + '\0' + folder + '\0' + m_selfKey.toLatin1();
    return "pairguard/" + QByteArray::number(::geteuid()) + '/' + QCryptographicHash::hash(seed, QCryptographicHash::Sha256).toHex().left(32);
}

// folder.md §2.2. False: a process of this user has it; it is the holder, though its lock file is gone.
bool GuardianService::Private::holdTether(int patience)
{
    struct sockaddr_un address;
    ::memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    const QByteArray name = tetherName();
    ::memcpy(address.sun_path + 1, name.constData(), size_t(name.size()));
    const socklen_t size = socklen_t(offsetof(struct sockaddr_un, sun_path) + 1 + size_t(name.size()));
    m_tether = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    QElapsedTimer waited;
    waited.start();
    for (;;) {
        if (::bind(m_tether, reinterpret_cast<struct sockaddr *>(&address), size) == 0 && ::listen(m_tether, 128) == 0)
            break;
        if (waited.elapsed() >= patience) {
            struct ucred who;
            socklen_t length = sizeof who;
            const bool ours = ::connect(m_tether, reinterpret_cast<struct sockaddr *>(&address), size) == 0
                && ::getsockopt(m_tether, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 && who.uid == ::geteuid();
            ::close(m_tether);
            m_tether = -1;
            return !ours || ::kill(who.pid, 0) != 0; // somebody else's, or a dead holder's child: the lock file alone decides
        }
        ::usleep(10000);
    }
    m_tetherNotifier = new QSocketNotifier(m_tether, QSocketNotifier::Read, this);
    connect(m_tetherNotifier, &QSocketNotifier::activated, this, [this] {
        const int fd = ::accept4(m_tether, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0)
            ::close(fd); // whoever asks who listens has the answer by now
    });
    return true;
}

bool GuardianService::Private::claim()
{
    for (int tries = 0; tries < 50; tries++) {
        qint64 heldBy = 0;
        if (!lockFile(&m_lock, &heldBy)) {
            if (heldBy == 0 && errno != EAGAIN && errno != EACCES) {
                m_error = QStringLiteral("lock file %1: %2; remove it, or choose another folder").arg(file(m_selfKey, ".lock"), QString::fromLocal8Bit(::strerror(errno)));
                return false;
            }
            m_taken = true;
            m_error = QStringLiteral("the name %1 is taken by %2: end that one first, or choose another name")
                          .arg(m_self, heldBy > 0 ? QStringLiteral("process %1").arg(heldBy) : QStringLiteral("a process that cannot be seen from here"));
            return false;
        }
        if (!holdTether(1000)) {
            releaseName();
            m_taken = true;
            m_error = QStringLiteral("the name %1 is taken by a process that has lost its lock file: end that one first").arg(m_self);
            return false;
        }
        if (lockInPlace(m_lock))
            return true;
        releaseName();
    }
    m_error = QStringLiteral("the lock file of %1 is replaced again and again: find out who does that to %2").arg(m_self, m_folder);
    return false;
}

void GuardianService::Private::releaseName()
{
    delete m_tetherNotifier;
    m_tetherNotifier = nullptr;
    for (int *fd : {&m_tether, &m_lock}) {
        if (*fd >= 0)
            ::close(*fd);
        *fd = -1;
    }
}

// Who holds another name: the kernel says it. 0: nobody; -1: somebody who cannot be seen from here.
qint64 GuardianService::Private::holder(const QString &key) const
{
    const int fd = ::open(QFile::encodeName(file(key, ".lock")).constData(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return 0;
    struct flock ask;
    ::memset(&ask, 0, sizeof ask);
    ask.l_type = F_WRLCK;
    const bool asked = ::fcntl(fd, F_GETLK, &ask) == 0;
    ::close(fd);
    if (!asked || ask.l_type == F_UNLCK)
        return 0;
    return ask.l_pid > 0 ? ask.l_pid : -1;
}

// A record that cannot be read is empty; that it exists may count all the same.
QJsonObject GuardianService::Private::load(const QString &path) const
{
    const QJsonObject record = QJsonDocument::fromJson(readAll(path)).object();
    return record.value(QStringLiteral("version")).toInt() == 1 ? record : QJsonObject();
}

bool GuardianService::Private::store(const QString &path, QJsonObject record, bool durable)
{
    record.insert(QStringLiteral("version"), 1);
    const QByteArray bytes = QJsonDocument(record).toJson(QJsonDocument::Compact) + '\n';
    const QByteArray aside = QFile::encodeName(m_folder + QStringLiteral("/~") + QFileInfo(path).fileName()) + '.' + QByteArray::number(::getpid()) + ".tmp";
    const int fd = ::open(aside.constData(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && ::write(fd, bytes.constData(), size_t(bytes.size())) == bytes.size() && (!durable || ::fsync(fd) == 0);
    if (fd >= 0)
        ok = ::close(fd) == 0 && ok;
    ok = ok && ::rename(aside.constData(), QFile::encodeName(path).constData()) == 0;
    if (!ok)
        ::unlink(aside.constData());
    return ok;
}

static quint64 generationOf(const QJsonObject &record)
{
    const double g = record.value(QStringLiteral("generation")).toDouble();
    return g > 0 && g <= double(maxGeneration) ? quint64(g) : 0;
}

// folder.md §5, steps 2 and 3.
bool GuardianService::Private::beginLife()
{
    const QString token = QString::fromLocal8Bit(qgetenv("PAIRGUARD_REVIVAL")), key = QStringLiteral("token");
    const QJsonObject life = load(file(m_selfKey, ".life")), spawn = load(file(m_selfKey, ".spawn"));
    m_reborn = !token.isEmpty() && spawn.value(key).toString() == token && life.value(key).toString() != token;
    if (!m_reborn)
        ::unlink(QFile::encodeName(stopFile()).constData());
    const quint64 started = generationOf(spawn);
    m_generation = 1 + qMax(qMax(generationOf(life), generationOf(load(file(m_selfKey, ".leave")))), started ? started - 1 : 0);
    Process me;
    me.open(::getpid());
    const bool stored = store(file(m_selfKey, ".life"), {{QStringLiteral("name"), m_self}, {QStringLiteral("peer"), m_peer},
        {QStringLiteral("generation"), double(m_generation)}, {QStringLiteral("process"), identity(::getpid(), me.start())},
        {QStringLiteral("started"), now()}, {QStringLiteral("revived"), m_reborn}, {key, m_reborn ? token : life.value(key).toString()}});
    if (stored)
        ::unlink(QFile::encodeName(file(m_selfKey, ".leave")).constData());
    else
        m_error = QStringLiteral("the life of %1 cannot be stored in %2: make room on the disk or mend the folder").arg(m_self, m_folder);
    return stored;
}

// folder.md §3.3
bool GuardianService::Private::peerLeft() const
{
    if (!exists(file(m_peerKey, ".leave")))
        return false;
    const QJsonObject leave = load(file(m_peerKey, ".leave")), life = load(file(m_peerKey, ".life"));
    const QString boot = leave.value(QStringLiteral("process")).toObject().value(QStringLiteral("boot_id")).toString();
    if (!boot.isEmpty() && boot != bootId())
        return false;
    return leave.isEmpty() || life.isEmpty() || generationOf(leave) == generationOf(life);
}

static double bootClock() // ns
{
    struct timespec t;
    ::clock_gettime(CLOCK_BOOTTIME, &t);
    return double(t.tv_sec) * 1e9 + double(t.tv_nsec);
}

// folder.md §3.5, in ms
qint64 GuardianService::Private::heldFor(const QString &key) const
{
    const QJsonObject hold = load(file(key, ".hold"));
    if (hold.isEmpty())
        return 0;
    const double boot = bootClock() / 1e6, until = hold.value(QStringLiteral("until_boot")).toDouble() / 1e6;
    double left = double(QDateTime::currentDateTimeUtc().msecsTo(QDateTime::fromString(hold.value(QStringLiteral("until")).toString(), Qt::ISODateWithMs)));
    if (until > 0 && hold.value(QStringLiteral("boot_id")).toString() == bootId())
        left = until - boot;
    return qint64(qBound(0.0, left, hold.value(QStringLiteral("for_ns")).toDouble() / 1e6));
}

bool GuardianService::Private::listen()
{
    const QString path = m_selfPath;
    const QByteArray local = QFile::encodeName(path);
    struct stat at;
    if (::lstat(local.constData(), &at) == 0) {
        if (!S_ISSOCK(at.st_mode)) {
            m_error = QStringLiteral("socket %1: something else is there; remove it or choose another name").arg(path);
            return false;
        }
        ::unlink(local.constData()); // the name is ours, so nobody listens there any more
    }
    m_server.close();
    if (!m_server.listen(path)) {
        m_error = QStringLiteral("socket %1: %2").arg(path, m_server.errorString());
        return false;
    }
    ::chmod(local.constData(), 0600);
    return true;
}

// Puts back what somebody removed: the folder, the lock file, the socket.
void GuardianService::Private::lookAfterName()
{
    if (m_phase == Idle || m_phase == Ended)
        return;
    ::mkdir(QFile::encodeName(m_folder).constData(), 0700);
    if (!lockInPlace(m_lock)) {
        int fd = -1;
        qint64 heldBy = 0;
        if (lockFile(&fd, &heldBy)) {
            ::close(m_lock);
            m_lock = fd;
            tell("listening", QStringLiteral("lock file made again"));
        } else if (heldBy != 0 && m_tether < 0) {
            lost(QStringLiteral("process %1 has taken the name %2: end one of the two").arg(heldBy).arg(m_self));
            return;
        }
    }
    struct stat at;
    if (m_server.isListening() && (::lstat(QFile::encodeName(m_selfPath).constData(), &at) != 0 || !S_ISSOCK(at.st_mode))) {
        if (listen())
            tell("listening", QStringLiteral("the socket was removed: listening again"));
    }
}

// No goodbye: the name is not ours to speak for any more.
void GuardianService::Private::lost(const QString &why)
{
    m_error = why;
    m_kind = QStringLiteral("lost");
    m_reason = why;
    finish();
}

// --- links ----------------------------------------------------------------------------------------------------------------

void GuardianService::Private::meet(QLocalSocket *socket)
{
    Link *link = new Link(socket, true, this);
    if (!link->identify() || m_strangers >= maxStrangers) { // §8.1: before anything is read
        delete link;
        return;
    }
    m_strangers++;
    watch(link);
    QTimer::singleShot(introduction, link, [this, link] {
        if (!link->introduced)
            close(link);
    });
    if (socket->bytesAvailable() > 0)
        receive(link);
}

void GuardianService::Private::watch(Link *link)
{
    m_links.append(link);
    connect(link->socket, &QLocalSocket::readyRead, link, [this, link] { receive(link); });
    connect(link->socket, &QLocalSocket::disconnected, link, [this, link] { lostLink(link); });
}

void GuardianService::Private::receive(Link *link)
{
    if (link->gone)
        return;
    link->buffer += link->socket->read(64 * 1024);
    for (;;) {
        const int lf = int(link->buffer.indexOf('\n'));
        if (link->gone)
            return;
        if (lf >= maxLine || (lf < 0 && link->buffer.size() >= maxLine)) {
            close(link); // §11: where the next line would begin cannot be trusted
            return;
        }
        if (lf < 0)
            break;
        QByteArray text = link->buffer.left(lf);
        link->buffer.remove(0, lf + 1);
        if (text.endsWith('\r'))
            text.chop(1);
        heard(link, text);
    }
    if (!link->gone && link->socket->bytesAvailable() > 0)
        QTimer::singleShot(0, link, [this, link] { receive(link); });
}

void GuardianService::Private::heard(Link *link, const QByteArray &text)
{
    const Line line(text);
    if (link->inbound && !link->introduced) {
        link->introduced = true;
        m_strangers--;
        introduce(link, line);
        return;
    }
    if (line.word == "HELLO" && !link->looks) {
        greeted(link, line);
    } else if (line.word == "LOOK" && line.good) {
        look();
        if (link->looks && !link->gone)
            link->send(status());
    } else if (line.word == "BEAT" && link == m_in) {
        quint64 age = 0;
        if (!line.has({"health"}) || (line.keys.contains("age_ms") && !line.number("age_ms", &age)))
            return;
        if (line.keys.value("health") == QLatin1String("ok"))
            sign(qint64(qMin(age, quint64(1000000000))));
        else
            m_unwell = QStringLiteral("it says that it is not healthy: ") + line.keys.value("reason");
    } else if (line.word == "BYE" && line.good) {
        bye(link, line);
    } else if (line.word == "REFUSED" && (link == m_out || link == m_probe)) {
        close(link);
        m_redial = m_heartbeat;
        m_lastSign = m_clock.elapsed(); // it answers, though not as a peer should: that is no hang
        if (m_phase == Suspect) {
            enter(m_spoke ? Up : Starting, m_spoke ? -1 : m_window);
            armJudge(m_timeout);
        }
        dialLater();
        m_refusals++;
        if ((m_refusals & (m_refusals - 1)) == 0)
            tell("peer_failed", QStringLiteral("it refuses our link: ") + line.keys.value("reason"));
    }
}

void GuardianService::Private::introduce(Link *link, const Line &line)
{
    if (line.word == "LOOK" && line.good) {
        link->looks = true;
        look();
        link->send(status());
    } else if (line.word == "HELLO") {
        greeted(link, line);
    } else {
        refuse(link, QStringLiteral("say HELLO; a program with the published class needs `pairguard guard` for its peer"));
    }
}

QString GuardianService::Private::objection(const Link *link, const Line &line) const
{
    quint64 number;
    if (line.fixed.value(0) != "1")
        return QStringLiteral("version %1 is not spoken here; this is version 1").arg(QString::fromLatin1(line.fixed.value(0)));
    if (!line.has({"self", "peer", "pid", "gen", "heartbeat_ms", "health"}) || !line.number("pid", &number) || !line.number("gen", &number)
        || !line.number("heartbeat_ms", &number) || number == 0)
        return QStringLiteral("malformed");
    if (encoded(line.keys.value("self")) != written(m_peer) || encoded(line.keys.value("peer")) != written(m_self))
        return QStringLiteral("%1 guards %2, not %3: name both members of the pair alike on both sides").arg(m_self, m_peer, line.keys.value("self"));
    const qint64 pid = holder(m_peerKey);
    if (pid >= 0 && link->pid > 0 && pid != link->pid) // §8.3
        return pid ? QStringLiteral("process %1 holds the name %2, not process %3").arg(pid).arg(m_peer).arg(link->pid)
                   : QStringLiteral("nobody holds the name lock of %1: take it before saying HELLO").arg(m_peer);
    return QString();
}

void GuardianService::Private::greeted(Link *link, const Line &line)
{
    const bool answer = !link->inbound;
    const QString why = objection(link, line);
    if (!why.isEmpty()) {
        refuse(link, why);
        return;
    }
    if (m_phase == Ending || m_phase == Ended) {
        link->send("BYE " + m_kind.toLatin1());
        close(link);
        return;
    }
    if (m_phase == Fencing && link->pid == m_process.pid()) {
        close(link); // it is killed; what it said before is late
        return;
    }
    if (!answer)
        link->send(hello());
    recognise(link->pid);
    if (link->gone || (link->pid > 0 && link->pid != m_process.pid())) {
        close(link); // it has just died
        return;
    }
    m_peerGeneration = line.keys.value("gen").toULongLong();
    if (link == m_probe) {
        m_probe = nullptr;
        close(link);
    } else if (answer) {
        link->open = true;
        m_redial = redialFirst;
        beat();
        m_beat.start(m_heartbeat);
    } else if (m_in != link) {
        Link *old = m_in;
        m_in = link; // §2: a newer link replaces an older one in the same direction
        if (old)
            close(old);
    }
    m_listens = true;
    if (line.keys.value("health") == QLatin1String("ok"))
        sign(0);
    if (wantsOut() && !m_dial.isActive())
        m_dial.start(0);
}

void GuardianService::Private::refuse(Link *link, const QString &why)
{
    link->send("REFUSED reason=" + encoded(why));
    if (!link->inbound)
        m_redial = m_heartbeat;
    close(link);
    m_refusals++;
    if ((m_refusals & (m_refusals - 1)) == 0)
        tell("peer_failed", QStringLiteral("refused a link: ") + why);
}

void GuardianService::Private::bye(Link *link, const Line &line)
{
    if ((link != m_in && link != m_out) || !(m_phase == Starting || m_phase == Up || m_phase == Suspect))
        return;
    if (line.fixed.value(0) == "stop") {
        end(QStringLiteral("stop"), line.keys.value("reason"), false);
    } else if (line.fixed.value(0) == "leave") {
        dropLinks();
        m_spoke = false;
        m_noticed = -1;
        enter(Left);
        tell("peer_left", line.keys.value("reason"));
        Q_EMIT q->peerLeft();
    }
}

void GuardianService::Private::close(Link *link)
{
    if (link->gone)
        return;
    lostLink(link);
    link->socket->flush();
    link->socket->close();
}

void GuardianService::Private::lostLink(Link *link)
{
    if (link->gone)
        return;
    link->gone = true;
    link->socket->disconnect(link);
    m_links.removeAll(link);
    if (link->inbound && !link->introduced)
        m_strangers--;
    if (link == m_in)
        m_in = nullptr;
    if (link == m_probe)
        m_probe = nullptr;
    if (link == m_out) {
        m_out = nullptr;
        dialLater();
    }
    link->deleteLater();
}

void GuardianService::Private::dropLinks()
{
    for (Link *link : {m_in, m_out, m_probe})
        if (link)
            close(link);
    m_dial.stop();
}

void GuardianService::Private::dialLater()
{
    if (!wantsOut() || m_dial.isActive())
        return;
    m_dial.start(m_redial);
    m_redial = qMin(m_redial * 2, m_heartbeat);
}

void GuardianService::Private::dial(bool probe)
{
    if (probe ? m_probe != nullptr : !wantsOut())
        return;
    QLocalSocket *socket = new QLocalSocket;
    Link *link = new Link(socket, false, this);
    link->probe = probe;
    socket->connectToServer(m_peerPath); // a Unix socket connects at once, or not at all
    const qint64 held = socket->state() == QLocalSocket::ConnectedState && link->identify() ? holder(m_peerKey) : 0;
    if (held == 0 || (held > 0 && link->pid != held)) {
        delete link;
        if (!probe)
            dialLater();
        return;
    }
    (probe ? m_probe : m_out) = link;
    watch(link);
    if (!probe) {
        if (m_phase == Seeking)
            recognise(link->pid);
        if (m_out != link)
            return;
        if (!m_listens && m_phase == Starting) {
            m_listens = true; // it listens, so it owes an answer
            m_lastSign = m_clock.elapsed();
            armJudge(m_timeout);
        }
    }
    link->send(hello());
}

void GuardianService::Private::beat()
{
    if (m_out && m_out->open)
        m_out->send("BEAT " + QByteArray::number(++m_out->beats) + " health=ok age_ms=0");
}

QByteArray GuardianService::Private::hello() const
{
    return "HELLO 1 self=" + written(m_self) + " peer=" + written(m_peer) + " pid=" + QByteArray::number(::getpid())
        + " gen=" + QByteArray::number(m_generation) + " heartbeat_ms=" + QByteArray::number(m_heartbeat) + " health=ok";
}

QByteArray GuardianService::Private::status() const
{
    const QByteArray there = m_process.pid() ? " peer_pid=" + QByteArray::number(m_process.pid()) : QByteArray();
    const QByteArray phase = QByteArray(QMetaEnum::fromType<Phase>().valueToKey(m_phase)).toLower();
    return "STATUS 1 self=" + written(m_self) + " pid=" + QByteArray::number(::getpid()) + " peer=" + written(m_peer) + there + " phase=" + phase
        + " plain=false guards_hang=" + (m_spoke ? "true" : "false") + " gen=" + QByteArray::number(m_generation) + " revived="
        + QByteArray::number(m_revived) + " held_ms=" + QByteArray::number(m_held ? qMax(m_heldUntil - m_clock.elapsed(), qint64(1)) : 0);
}

// §4.4: what counts is what is stored.
void GuardianService::Private::look()
{
    if (m_phase == Ending || m_phase == Ended || m_phase == Idle)
        return;
    if (exists(stopFile())) {
        end(QStringLiteral("stop"), load(stopFile()).value(QStringLiteral("reason")).toString(), false);
        return;
    }
    setHold(heldFor(m_peerKey));
}

// --- the guard ------------------------------------------------------------------------------------------------------------

bool GuardianService::Private::init(const QString &self, const QString &peer, const QString &executable, const QStringList &arguments)
{
    m_error.clear();
    m_taken = false;
    if (m_phase != Idle) {
        m_error = QStringLiteral("init may be called once");
        return false;
    }
    const QFileInfo program(executable);
    if (!program.isFile() || !program.isExecutable()) {
        m_error = QStringLiteral("%1 is not a program that can be started: give the path of the peer's executable").arg(executable);
        return false;
    }
    m_self = self;
    m_peer = peer;
    m_executable = program.absoluteFilePath();
    m_arguments = arguments;
    m_selfKey.clear();
    m_peerKey.clear();
    if (!openFolder() || !place(self, &m_selfKey, &m_selfPath) || !place(peer, &m_peerKey, &m_peerPath))
        return false;
    if (m_selfKey == m_peerKey) {
        m_error = QStringLiteral("both members are called %1: they need different names").arg(self);
        return false;
    }
    if (!claim())
        return false;
    if (!beginLife() || !listen()) {
        releaseName();
        return false;
    }
    m_phase = Seeking;
    m_beat.start(m_heartbeat);
    m_check.start(nameCheck);
    tell("listening");
    if (exists(stopFile())) { // revived into a stop, or one came meanwhile
        QTimer::singleShot(0, this, [this] { look(); });
        return true;
    }
    setHold(heldFor(m_peerKey));
    // A person may be about to start the peer, too; one that has started us was there a moment ago, and is dead.
    enter(Seeking, m_reborn ? 0 : qMin(m_heartbeat, 1000));
    const qint64 there = holder(m_peerKey);
    if (there > 0 && adopt(there, true))
        return true;
    if (peerLeft())
        enter(Left);
    m_dial.start(0);
    return true;
}

void GuardianService::Private::enter(Phase phase, int patience)
{
    const bool changed = phase != m_phase;
    m_phase = phase;
    m_phaseTimer.stop();
    if (patience >= 0)
        m_phaseTimer.start(patience);
    if (changed)
        Q_EMIT q->phaseChanged(phase);
}

void GuardianService::Private::phaseOver()
{
    switch (m_phase) {
    case Seeking:
    case Waiting:
    case Reviving:
        enter(Reviving);
        survey();
        break;
    case Starting:
        startOverdue();
        break;
    case Fencing:
        tell("peer_hung", QStringLiteral("killed, but the kernel has not ended it yet: its successor waits"));
        m_process.signal(SIGKILL);
        m_phaseTimer.start(30000);
        break;
    case Ending:
        if (m_process.pid() && !m_killed) {
            m_killed = true;
            m_process.signal(SIGKILL);
            m_phaseTimer.start(m_grace);
        } else {
            finish();
        }
        break;
    default:
        break;
    }
}

// adopt takes a process for the peer. The lock is asked again: the handle is on the holder, not on who got its number later.
bool GuardianService::Private::adopt(qint64 pid, bool mustHold)
{
    delete m_proof;
    m_proof = nullptr;
    if (!m_process.open(pid) || (mustHold && holder(m_peerKey) != pid)) {
        m_process.close();
        return false;
    }
    m_since = m_clock.elapsed();
    m_spoke = m_listens = m_reported = false;
    m_peerGeneration = 0;
    m_unwell.clear();
    m_redial = redialFirst;
    enter(Starting, m_window);
    follow();
    if (!m_dial.isActive())
        m_dial.start(mustHold ? 0 : m_heartbeat); // one that we started dials us; later we look whether it does not
    return true;
}

// follow makes the process's death known as soon as the kernel knows it.
void GuardianService::Private::follow()
{
    m_poll.stop();
    if (m_process.descriptor() < 0) {
        m_poll.start(50);
        return;
    }
    m_proof = new QSocketNotifier(m_process.descriptor(), QSocketNotifier::Read, this);
    connect(m_proof, &QSocketNotifier::activated, this, [this] { lookForDeath(); });
}

// recognise makes the speaker the peer; the kernel says that it holds the name.
void GuardianService::Private::recognise(qint64 pid)
{
    if (pid <= 0)
        return; // it cannot be seen from here
    if (pid == m_process.pid() && m_process.dead()) {
        died(); // this is the last that it said
        return;
    }
    if (pid == m_process.pid() && (engaged() || m_phase == Left)) {
        if (m_phase == Left)
            enter(Starting, m_window);
        return;
    }
    const bool replaced = engaged();
    if (m_phase == Fencing)
        tell("peer_fenced", QStringLiteral("another process holds its name now"));
    else if (engaged() && m_spoke)
        tell("peer_dead", QStringLiteral("another process holds its name now"));
    if (engaged() && m_spoke && m_noticed < 0)
        m_noticed = m_clock.elapsed();
    if (m_out && m_out->pid != pid)
        close(m_out);
    if (m_in && m_in->pid != pid)
        close(m_in);
    if (!adopt(pid, true) && replaced)
        mourn(); // it is dead already, and so was the one before it
}

// sign takes a sign of life, given age ms ago.
void GuardianService::Private::sign(qint64 age)
{
    if (m_phase != Starting && m_phase != Up && m_phase != Suspect)
        return;
    const qint64 at = m_clock.elapsed() - age;
    if (at > m_lastSign || !m_spoke) {
        m_lastSign = at;
        m_credit = 0;
    }
    m_unwell.clear();
    m_lateTold = false;
    if (!m_spoke) {
        m_spoke = m_speaker = true;
        m_failures = 0;
        m_window = qMax(startTimeout, int(qMin(3 * (m_clock.elapsed() - m_since), qint64(600000))));
        enter(Up);
        const double after = m_noticed < 0 ? -1 : double(m_clock.elapsed() - m_noticed);
        m_noticed = -1;
        tell("peer_up", QString(), after);
        Q_EMIT q->peerUp(m_process.pid());
    } else if (m_phase == Suspect && silence() < m_timeout) {
        enter(Up);
        tell("peer_up", QStringLiteral("it speaks again"));
        Q_EMIT q->peerUp(m_process.pid());
    }
    if (m_phase == Up)
        armJudge(m_timeout - silence());
}

void GuardianService::Private::armJudge(qint64 ms)
{
    m_judge.start(int(qMax(ms, qint64(0))));
    m_judgeDue = m_clock.elapsed() + qMax(ms, qint64(0));
}

// judge looks at the silence of the peer. When we ourselves come late we have not heard silence: its window grows by as much.
void GuardianService::Private::judge()
{
    const qint64 late = m_clock.elapsed() - m_judgeDue;
    if (late > lateSlack)
        m_credit += late;
    if (late > m_timeout / 2) { // perhaps for the whole of it: listen anew
        m_lastSign = m_clock.elapsed();
        m_credit = 0;
    }
    if (m_held || !(m_phase == Up || m_phase == Suspect || (m_phase == Starting && m_listens)))
        return;
    if (m_phase != Suspect) {
        if (silence() < m_timeout) {
            armJudge(m_timeout - silence());
            return;
        }
        suspect(QStringLiteral("silent for %1 ms").arg(silence()));
        return;
    }
    QString why;
    const Finding found = examine(&why);
    m_looks = (m_looks << 1 | (found == CouldRun ? 1 : 0)) & 0x3f;
    if (found != CouldRun) {
        m_credit += attention;
        if (!m_lateTold)
            tell("peer_late", why);
        m_lateTold = true;
    } else if (m_found == Stopped) {
        m_lastSign = m_clock.elapsed(); // let go, it has a whole window to speak
        m_credit = 0;
    }
    m_found = found;
    if (silence() < m_timeout + confirmation || qPopulationCount(m_looks) < 4) {
        lookAgain(false);
    } else if (!m_lastCall || late >= attention) {
        lookAgain(true); // what arrived while we were late may still wait to be read
    } else if (setHold(heldFor(m_peerKey)), !m_held) {
        if (!m_spoke && !m_listens && holder(m_peerKey) != 0) {
            enter(Starting, m_window); // it has taken its name meanwhile
            return;
        }
        hung(QStringLiteral("%1 for %2 ms%3").arg(m_spoke ? QStringLiteral("silent") : m_listens ? QStringLiteral("it listens but does not answer")
                                                  : QStringLiteral("it was started and has not taken its name"))
                 .arg(m_clock.elapsed() - (m_spoke || m_listens ? m_lastSign : m_since)).arg(m_unwell.isEmpty() ? QString() : QStringLiteral("; ") + m_unwell));
    }
}

// suspect begins the looks at a silent peer.
void GuardianService::Private::suspect(const QString &why)
{
    enter(Suspect);
    m_looks = 0;
    m_found = CouldRun;
    m_lateTold = false;
    m_cpu = cpu();
    m_suspectAt = m_clock.elapsed();
    tell("peer_suspect", why);
    lookAgain(false);
}

void GuardianService::Private::lookAgain(bool lastCall)
{
    m_lastCall = lastCall;
    dial(true); // only a HELLO on a fresh connection says that it is alive
    if (m_phase == Suspect)
        armJudge(attention);
}

// The processor time of all threads of the peer together, in ticks.
quint64 GuardianService::Private::cpu() const
{
    const QList<QByteArray> fields = processFields("/proc/" + QByteArray::number(m_process.pid()) + "/stat");
    return fields.size() < 13 ? 0 : fields.at(11).toULongLong() + fields.at(12).toULongLong();
}

// examine finds out whether a silent peer had the chance to speak. docs/judging.md of pairguard explains each finding.
GuardianService::Private::Finding GuardianService::Private::examine(QString *why)
{
    const QString folder = QStringLiteral("/proc/%1").arg(m_process.pid());
    for (const QByteArray &line : readAll(folder + QStringLiteral("/status")).split('\n')) {
        if (line.startsWith("TracerPid:") && line.mid(10).trimmed() != "0") {
            *why = QStringLiteral("a debugger has hold of it: process ") + QString::fromLatin1(line.mid(10).trimmed());
            return Stopped;
        }
    }
    if (frozen()) {
        *why = QStringLiteral("its cgroup is frozen");
        return Stopped;
    }
    bool seen = false, runnable = false, waits = false;
    for (const QString &task : QDir(folder + QStringLiteral("/task")).entryList(QDir::Dirs | QDir::NoDotAndDotDot)) {
        const QByteArray state = processFields(QFile::encodeName(folder + QStringLiteral("/task/") + task + QStringLiteral("/stat"))).value(0);
        seen = seen || !state.isEmpty();
        runnable = runnable || state == "R";
        waits = waits || state == "D";
    }
    // Who got 50 ms of processor time and did not speak was not kept from it.
    if (runnable && (cpu() - m_cpu) * 1000 < 50 * quint64(::sysconf(_SC_CLK_TCK))) {
        *why = QStringLiteral("it waits for a processor");
        return Starved;
    }
    if ((!seen || (waits && !runnable)) && m_clock.elapsed() - m_suspectAt < unsureLimit) {
        *why = seen ? QStringLiteral("it waits inside the kernel, perhaps for a disk") : QStringLiteral("nothing can be seen of it");
        return Unsure;
    }
    return CouldRun;
}

// frozen: by its cgroup or one around that, as by `docker pause`. One that cannot be seen from here is taken for thawed.
bool GuardianService::Private::frozen() const
{
    for (const QByteArray &line : readAll(QStringLiteral("/proc/%1/cgroup").arg(m_process.pid())).split('\n')) {
        const QList<QByteArray> parts = line.split(':');
        const QString group = QFile::decodeName(line.mid(line.indexOf(':', line.indexOf(':') + 1) + 1));
        if (parts.size() < 3)
            continue;
        if (parts.at(1).isEmpty()) {
            for (const char *mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"})
                if (readAll(QLatin1String(mount) + group + QStringLiteral("/cgroup.events")).contains("frozen 1"))
                    return true;
        } else if (parts.at(1).split(',').contains("freezer")
                   && readAll(QStringLiteral("/sys/fs/cgroup/freezer") + group + QStringLiteral("/freezer.state")).startsWith("FR")) {
            return true;
        }
    }
    return false;
}

// hung: judged. It is killed, and nothing else happens before the proof.
void GuardianService::Private::hung(const QString &why)
{
    m_noticed = m_clock.elapsed();
    dropLinks();
    enter(Fencing, 5000);
    tell("peer_hung", why);
    Q_EMIT q->peerHung(why);
    m_process.signal(SIGKILL);
    lookForDeath();
}

void GuardianService::Private::lookForDeath()
{
    if (m_process.pid() && m_process.dead())
        died();
}

void GuardianService::Private::died()
{
    delete m_proof;
    m_proof = nullptr;
    m_poll.stop();
    const Phase was = m_phase;
    switch (was) {
    case Starting:
    case Up:
    case Suspect:
        if (m_spoke) {
            tell("peer_dead");
            Q_EMIT q->peerDead();
        }
        break;
    case Fencing:
        tell("peer_fenced");
        break;
    default:
        break;
    }
    m_process.close();
    if (was == Ending)
        finish();
    else if (was == Starting || was == Up || was == Suspect || was == Fencing)
        mourn();
}

// mourn: proved dead. docs/restart.md says when the next start is due.
void GuardianService::Private::mourn()
{
    const qint64 now = m_clock.elapsed();
    if (m_noticed < 0)
        m_noticed = now;
    dropLinks();
    m_spoke = m_listens = false;
    if (now - m_since >= m_stable)
        m_starts = 0;
    double wait = 0;
    if (m_starts > 0 && m_backoff > 0)
        wait = qMin(double(m_backoffMax), double(m_backoff) * double(1 << qMin(m_starts - 1, 20))) * (0.75 + 0.25 * QRandomGenerator::global()->generateDouble());
    m_starts++;
    m_startAt = now + qint64(wait);
    enter(Reviving);
    survey();
}

// survey reads the folder once more, after the proof and right before the start. Only its last line starts anything.
void GuardianService::Private::survey()
{
    if (m_phase != Reviving)
        return;
    look();
    if (m_phase != Reviving)
        return;
    const qint64 there = holder(m_peerKey);
    if (there < 0) {
        if (++m_failures == 1)
            tell("peer_failed", QStringLiteral("its name is held by a process that cannot be seen from here (another PID namespace?)"));
        enter(Waiting, resurvey);
        return;
    }
    if (there > 0) {
        if (!adopt(there, true))
            enter(Waiting, redialFirst); // it has just died
        return;
    }
    const QJsonObject recorded = load(file(m_peerKey, ".spawn")).value(QStringLiteral("process")).toObject();
    Process other;
    if (recorded.value(QStringLiteral("boot_id")).toString() == bootId()
        && quint64(recorded.value(QStringLiteral("pid_namespace")).toDouble()) == pidNamespace()
        && other.open(qint64(recorded.value(QStringLiteral("pid")).toDouble()))
        && other.start() == quint64(recorded.value(QStringLiteral("start")).toDouble()) && adopt(other.pid(), false))
        return;
    const qint64 now = m_clock.elapsed();
    if (peerLeft()) {
        m_noticed = -1;
        enter(Left);
        tell("peer_left");
        Q_EMIT q->peerLeft();
    } else if (m_held) {
        enter(Waiting, int(qMin(m_heldUntil - now, qint64(3600000))));
    } else if (now < m_startAt) {
        enter(Waiting, int(m_startAt - now));
    } else {
        startPeer();
    }
}

void GuardianService::Private::startPeer()
{
    Process me;
    me.open(::getpid());
    const quint64 next = generationOf(load(file(m_peerKey, ".life")));
    QJsonObject record{{QStringLiteral("token"), QUuid::createUuid().toString(QUuid::Id128)}, {QStringLiteral("by"), identity(::getpid(), me.start())},
                       {QStringLiteral("process"), QJsonValue()}, {QStringLiteral("generation"), double(next ? next + 1 : 0)}, {QStringLiteral("time"), now()}};
    if (!store(file(m_peerKey, ".spawn"), record, false))
        tell("listening", QStringLiteral("the start of %1 could not be recorded").arg(m_peer)); // its name lock still keeps it single
    QProcess child;
    QProcessEnvironment world = QProcessEnvironment::systemEnvironment();
    world.insert(QStringLiteral("PAIRGUARD_DIR"), m_folder);
    world.insert(QStringLiteral("PAIRGUARD_REVIVAL"), record.value(QStringLiteral("token")).toString());
    child.setProcessEnvironment(world);
    child.setProgram(m_executable);
    child.setArguments(m_arguments);
    const QString output = file(m_peerKey, ".log");
    if (QFileInfo(output).size() > maxOutput)
        ::rename(QFile::encodeName(output).constData(), QFile::encodeName(output + QStringLiteral(".1")).constData());
    child.setStandardInputFile(QProcess::nullDevice());
    child.setStandardOutputFile(output, QIODevice::Append);
    child.setStandardErrorFile(output, QIODevice::Append);
    qint64 pid = 0;
    if (!child.startDetached(&pid)) {
        m_failures++;
        if ((m_failures & (m_failures - 1)) == 0)
            tell("peer_failed", QStringLiteral("it cannot be started: %1").arg(m_executable));
        m_since = m_clock.elapsed();
        m_starts++;
        enter(Waiting, qBound(100, m_backoff, m_backoffMax));
        return;
    }
    if (m_noticed >= 0)
        m_revived++;
    Process started;
    if (started.open(pid)) {
        record.insert(QStringLiteral("process"), identity(pid, started.start()));
        store(file(m_peerKey, ".spawn"), record, false);
    }
    const bool adopted = adopt(pid, false);
    tell("peer_started");
    Q_EMIT q->peerStarted(pid);
    if (!adopted) {
        m_since = m_clock.elapsed();
        mourn();
    }
}

// startOverdue: a started process has not spoken for the whole window. One that holds its name is left alone.
void GuardianService::Private::startOverdue()
{
    if (!m_reported) {
        m_reported = true;
        tell("peer_silent", QStringLiteral("it never said HELLO: guarded against death only; for unmodified programs use `pairguard run`"));
    }
    m_window = qMin(2 * m_window, 600000);
    m_phaseTimer.start(m_window);
    if (!m_speaker || m_held)
        return;
    const qint64 there = holder(m_peerKey);
    if (there > 0 && there != m_process.pid()) {
        if (!adopt(there, true))
            mourn();
    } else if (there == 0) {
        m_lastSign = m_clock.elapsed() - m_timeout;
        m_credit = 0;
        suspect(QStringLiteral("it was started and has not taken its name"));
    }
}

void GuardianService::Private::setHold(qint64 ms)
{
    if (ms > 0) {
        m_heldUntil = m_clock.elapsed() + ms;
        m_holdTimer.start(int(qMin(ms + 1, qint64(3600000))));
        if (!m_held) {
            m_held = true;
            tell("held", QStringLiteral("for %1 s").arg((ms + 999) / 1000));
        }
        return;
    }
    if (!m_held)
        return;
    m_held = false;
    m_holdTimer.stop();
    tell("unheld");
    m_lastSign = m_clock.elapsed();
    m_credit = 0;
    if (m_phase == Waiting)
        m_phaseTimer.start(0);
    else if (m_phase == Up || m_phase == Suspect || m_phase == Starting)
        armJudge(m_timeout);
}

// suspend is Ctrl-Z: a hold of our own name, stored before, tells the peer that this is no hang.
void GuardianService::Private::suspend()
{
    const double longest = 3600e9; // ns; one that is forgotten in the background is judged like any other after that
    const QString path = file(m_selfKey, ".hold");
    const bool ours = double(heldFor(m_selfKey)) * 1e6 < longest; // a longer one is a person's, and stays
    const QString until = QDateTime::currentDateTimeUtc().addSecs(3600).toString(Qt::ISODateWithMs);
    if (ours && !store(path, {{QStringLiteral("name"), m_self}, {QStringLiteral("until"), until}, {QStringLiteral("until_boot"), bootClock() + longest},
                              {QStringLiteral("boot_id"), bootId()}, {QStringLiteral("for_ns"), longest}, {QStringLiteral("reason"), QStringLiteral("Ctrl-Z")}}))
        return; // not suspended: it would be taken for hung
    for (Link *link : {m_out, m_in})
        if (link)
            link->send("LOOK");
    ::raise(SIGSTOP);
    if (ours)
        ::unlink(QFile::encodeName(path).constData());
    for (Link *link : {m_out, m_in})
        if (link)
            link->send("LOOK");
}

// --- the end --------------------------------------------------------------------------------------------------------------

// end: the goodbye is stored first, that is the instant of leaving; BYE is only the quick way to say "look" (§6).
void GuardianService::Private::end(const QString &kind, const QString &reason, bool ours)
{
    if (m_phase == Idle || m_phase == Ended)
        return;
    if (m_phase == Ending) {
        if (ours && kind == QLatin1String("stop") && m_process.pid() && !m_killed)
            phaseOver();
        return;
    }
    const bool spoke = m_spoke, left = m_phase == Left;
    m_kind = kind;
    m_reason = reason;
    m_ours = ours;
    if (ours) {
        Process me;
        me.open(::getpid());
        const QJsonObject goodbye{{QStringLiteral("kind"), kind}, {QStringLiteral("name"), m_self}, {QStringLiteral("peer"), m_peer},
            {QStringLiteral("generation"), double(m_generation)}, {QStringLiteral("process"), identity(::getpid(), me.start())},
            {QStringLiteral("reason"), reason.left(130)}, {QStringLiteral("time"), now()}};
        if (!store(kind == QLatin1String("stop") ? stopFile() : file(m_selfKey, ".leave"), goodbye))
            m_error = QStringLiteral("the goodbye could not be stored: make room on the disk");
    }
    enter(Ending, m_grace);
    m_judge.stop();
    const QByteArray line = "BYE " + kind.toLatin1() + (reason.isEmpty() ? QByteArray() : " reason=" + encoded(reason));
    for (Link *link : {m_out, m_in})
        if (link)
            link->send(line);
    if (kind != QLatin1String("stop") || left || !m_process.pid() || (!ours && spoke)) {
        finish();
        return;
    }
    if (!spoke)
        m_process.signal(SIGTERM); // it does not hear us
    lookForDeath();
}

void GuardianService::Private::finish()
{
    if (m_phase == Ended)
        return;
    const QString reason = m_reason.isEmpty() ? m_kind : m_kind + QStringLiteral(": ") + m_reason;
    tell("stopped", reason);
    for (QTimer *t : {&m_judge, &m_phaseTimer, &m_dial, &m_beat, &m_check, &m_poll, &m_holdTimer})
        t->stop();
    const QList<Link *> all = m_links;
    for (Link *link : all) {
        if (link->socket->bytesToWrite() > 0)
            link->socket->waitForBytesWritten(100);
        close(link);
    }
    m_server.close(); // removes the socket, too
    delete m_proof;
    m_proof = nullptr;
    m_process.close();
    releaseName();
    enter(Ended);
    Q_EMIT q->ended(reason);
    if (m_quitWhenEnded && QCoreApplication::instance())
        QMetaObject::invokeMethod(QCoreApplication::instance(), "quit", Qt::QueuedConnection);
}

void GuardianService::Private::tell(const char *event, const QString &reason, double afterMs)
{
    QJsonObject line{{QStringLiteral("time"), now()}, {QStringLiteral("event"), QLatin1String(event)}, {QStringLiteral("self"), m_self}, {QStringLiteral("peer"), m_peer}};
    if (m_process.pid())
        line.insert(QStringLiteral("peer_pid"), double(m_process.pid()));
    if (m_peerGeneration)
        line.insert(QStringLiteral("generation"), double(m_peerGeneration));
    if (!reason.isEmpty())
        line.insert(QStringLiteral("reason"), reason);
    if (afterMs >= 0)
        line.insert(QStringLiteral("after_ms"), afterMs);
    const QString path = file(m_selfKey, ".events.jsonl");
    if (QFileInfo(path).size() > maxEventLog)
        ::rename(QFile::encodeName(path).constData(), QFile::encodeName(file(m_selfKey, ".events.1.jsonl")).constData());
    const int fd = ::open(QFile::encodeName(path).constData(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        const QByteArray bytes = QJsonDocument(line).toJson(QJsonDocument::Compact) + '\n';
        (void)!::write(fd, bytes.constData(), size_t(bytes.size()));
        ::close(fd);
    }
    Q_EMIT q->happened(QLatin1String(event), reason);
}

// --- the class ------------------------------------------------------------------------------------------------------------

GuardianService::GuardianService(QObject *parent) : QObject(parent), d(new Private(this))
{
    if (QCoreApplication *app = QCoreApplication::instance())
        connect(app, &QCoreApplication::aboutToQuit, this, [this] { leave(QStringLiteral("quit")); });
}

GuardianService::~GuardianService()
{
    d->m_quitWhenEnded = false;
    leave(QStringLiteral("quit"));
    delete d;
}

bool GuardianService::init(const QString &self, const QString &peer, const QString &peerExecutable, const QStringList &arguments)
{
    return d->init(self, peer, peerExecutable, arguments);
}

bool GuardianService::handleSignals(GuardianService *service)
{
    if (signalPair[0] >= 0 || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, signalPair) != 0)
        return false;
    QSocketNotifier *notifier = new QSocketNotifier(signalPair[0], QSocketNotifier::Read, service);
    connect(notifier, &QSocketNotifier::activated, service, [service] {
        char number = 0;
        if (::read(signalPair[0], &number, 1) != 1)
            return;
        const bool guarding = service->d->m_phase != Idle && service->d->m_phase != Ended;
        if (number == SIGTSTP && !guarding)
            ::raise(SIGSTOP);
        else if (!guarding)
            QCoreApplication::quit();
        else if (number == SIGTSTP)
            service->d->suspend();
        else if (number == SIGINT)
            service->stop(QStringLiteral("sigint"));
        else
            service->leave(QStringLiteral("sigterm"));
    });
    struct sigaction action;
    ::memset(&action, 0, sizeof action);
    action.sa_handler = guardianSignal;
    action.sa_flags = SA_RESTART;
    for (const int number : {SIGTERM, SIGINT, SIGTSTP})
        if (::sigaction(number, &action, nullptr) != 0)
            return false;
    return true;
}

void GuardianService::leave(const QString &reason) { d->end(QStringLiteral("leave"), reason, true); }
void GuardianService::stop(const QString &reason) { d->end(QStringLiteral("stop"), reason, true); }

#else // not Linux

class GuardianService::Private
{
public:
    QString m_self, m_peer, m_folder, m_error;
    int m_heartbeat = 0, m_timeout = 0, m_grace = 0, m_backoff = 0, m_backoffMax = 0, m_stable = 0;
    bool m_quitWhenEnded = true, m_taken = false;
    Phase m_phase = Idle;
    quint64 m_generation = 0, m_revived = 0;
    struct { qint64 pid() const { return 0; } } m_process;
};

GuardianService::GuardianService(QObject *parent) : QObject(parent), d(new Private) {}
GuardianService::~GuardianService() { delete d; }

bool GuardianService::init(const QString &self, const QString &peer, const QString &, const QStringList &)
{
    d->m_self = self;
    d->m_peer = peer;
    d->m_error = QStringLiteral("GuardianService does not run on this operating system yet: guard the program with `pairguard guard`");
    return false;
}

bool GuardianService::handleSignals(GuardianService *) { return false; }
void GuardianService::leave(const QString &) {}
void GuardianService::stop(const QString &) {}

#endif

QString GuardianService::errorString() const { return d->m_error; }
bool GuardianService::nameTaken() const { return d->m_taken; }
void GuardianService::setFolder(const QString &folder) { d->m_folder = folder; }
void GuardianService::setHeartbeat(int ms) { d->m_heartbeat = qMax(ms, 10); }
void GuardianService::setTimeout(int ms) { d->m_timeout = qMax(ms, 20); }
void GuardianService::setGrace(int ms) { d->m_grace = qMax(ms, 0); }
void GuardianService::setBackoff(int firstMs, int longestMs, int stableMs)
{
    d->m_backoff = qMax(firstMs, 0);
    d->m_backoffMax = qMax(longestMs, d->m_backoff);
    d->m_stable = qMax(stableMs, 0);
}
void GuardianService::setQuitWhenEnded(bool quit) { d->m_quitWhenEnded = quit; }
GuardianService::Phase GuardianService::phase() const { return d->m_phase; }
QString GuardianService::self() const { return d->m_self; }
QString GuardianService::peer() const { return d->m_peer; }
qint64 GuardianService::peerPid() const { return d->m_process.pid(); }
quint64 GuardianService::generation() const { return d->m_generation; }
quint64 GuardianService::revived() const { return d->m_revived; }
