// GuardianService: two processes keep each other alive. For Qt 5.15 and Qt 6, modules Core and Network. Linux.
//
// Drop GuardianService.h and GuardianService.cpp into your project, then, once, in the thread of the main event loop:
//
//     GuardianService guardian;
//     if (!guardian.init("procA", "procB", "/opt/app/procB"))
//         qWarning() << guardian.errorString();
//
// and the other way round in procB. What holds then: the peer is back when it has died or its main event loop hangs; nothing is
// started in place of a process that has not been proved dead; who says goodbye is not started again. The other member may be
// this class, a Go program with the library, `pairguard guard`, or any program that follows docs/protocol.md.
//
// The heartbeat comes from the event loop that init was called in, so that it stops when your program hangs: do not call
// init in a thread of its own, or a hang of the rest would go unnoticed. Not thread-safe: use it from that thread alone.
#ifndef GUARDIANSERVICE_H
#define GUARDIANSERVICE_H

#include <QObject>
#include <QString>
#include <QStringList>

class GuardianService : public QObject
{
    Q_OBJECT
    Q_PROPERTY(Phase phase READ phase NOTIFY phaseChanged)

public:
    // Where the guard stands with its peer; docs/states.md of pairguard explains each.
    enum Phase { Idle, Seeking, Starting, Up, Suspect, Fencing, Reviving, Waiting, Left, Ending, Ended };
    Q_ENUM(Phase)

    explicit GuardianService(QObject *parent = nullptr);
    ~GuardianService() override; // leaves, if that has not been said before

    // Become self and guard peer, which peerExecutable starts. Names are letters, digits, '.', '_', '-', at most 64; or qt:NAME,
    // where QLocalServer puts NAME; or the path of a socket. Both members name each other. False: errorString() says why, and
    // nothing is guarded. nameTaken() then tells whether another process is self already: a program that is to run once should end then.
    bool init(const QString &self, const QString &peer, const QString &peerExecutable, const QStringList &arguments = QStringList());
    QString errorString() const;
    bool nameTaken() const;

    // Before init. Times are in milliseconds; these are the defaults. The folder is $PAIRGUARD_DIR, else one that depends on
    // the user alone; both members need the same.
    void setFolder(const QString &folder);
    void setHeartbeat(int ms = 1000);
    void setTimeout(int ms = 2000);
    void setGrace(int ms = 5000);
    void setBackoff(int firstMs = 500, int longestMs = 2000, int stableMs = 10000);
    // Whether the application quits when this member has ended, so that `pairguard stop` ends it. On by default.
    void setQuitWhenEnded(bool quit = true);
    // SIGTERM becomes leave(), SIGINT (Ctrl-C) stop(), SIGTSTP (Ctrl-Z) a hold until the process goes on. Without it the first
    // two kill the process, which the peer answers, and a process that stands still after Ctrl-Z is hung.
    static bool handleSignals(GuardianService *service);

    Phase phase() const;
    QString self() const;
    QString peer() const;
    qint64 peerPid() const;     // 0: there is none
    quint64 generation() const; // which life of its name this process is
    quint64 revived() const;    // how often it has started its peer again

public Q_SLOTS:
    // Go: the goodbye is stored, the peer is told and stays, and does not start this process again. A quit of the application
    // does this by itself. ended() follows before it returns.
    void leave(const QString &reason = QString());
    // End the pair: the peer too; it is killed after the grace time. Returns at once, ended() follows; called again it kills at once.
    void stop(const QString &reason = QString());

Q_SIGNALS:
    void phaseChanged(GuardianService::Phase phase);
    // Everything that happens, by its stable name: listening peer_up peer_suspect peer_late peer_hung peer_dead peer_fenced
    // peer_started peer_silent peer_left peer_failed held unheld stopped. The reason is for people and may be empty.
    void happened(const QString &event, const QString &reason);
    void peerUp(qint64 pid);
    void peerDead();
    void peerHung(const QString &reason);
    void peerStarted(qint64 pid);
    void peerLeft();
    void ended(const QString &reason); // this member is gone, by a leave or a stop

private:
    class Private;
    Private *const d;
};

#endif
