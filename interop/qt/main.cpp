// A plain peer: it behaves towards the outside as the published Qt class for two processes that guard each other, with all
// its faults, so that the tests can show what pairguard does with a program that uses it. docs/protocol.md §7 is about it.
//
//   qtplain SELF PEER EXECUTABLE [--reconnect]
//
// What it does, and all that it does:
//   - removes whatever socket stands at its name and listens there;
//   - connects once, at start, to the peer's name; when that connection ends it connects once more, at once, and never again;
//   - writes "ping", without a newline, every 2 s while it is connected;
//   - any bytes that come in restart a timer of 5 s; when that runs out it starts EXECUTABLE, detached and without
//     arguments, and restarts the timer.
//
// With --reconnect it tries again every second for as long as it lives, as some who use the class have mended it.
#include <QCoreApplication>
#include <QLocalServer>
#include <QLocalSocket>
#include <QProcess>
#include <QTextStream>
#include <QTimer>

class PlainGuardian : public QObject {
public:
    enum class Link { Once, ForEver };

    bool init(const QString &self, const QString &peer, const QString &peerExecutable, Link link);

private:
    void connectToPeer();
    void connectionEnded();
    void listenTo(QLocalSocket *inbound);

    QString m_peer, m_peerExecutable;
    Link m_link = Link::Once;
    bool m_triedAgain = false;
    QLocalServer m_server;
    QLocalSocket m_outbound;
    QTimer m_ping, m_silence, m_retry;
};

bool PlainGuardian::init(const QString &self, const QString &peer, const QString &peerExecutable, Link link)
{
    m_peer = peer;
    m_peerExecutable = peerExecutable;
    m_link = link;

    QLocalServer::removeServer(self);
    if (!m_server.listen(self))
        return false;
    connect(&m_server, &QLocalServer::newConnection, this, [this] {
        while (QLocalSocket *inbound = m_server.nextPendingConnection())
            listenTo(inbound);
    });

    connect(&m_outbound, &QLocalSocket::disconnected, this, &PlainGuardian::connectionEnded);
    connect(&m_ping, &QTimer::timeout, this, [this] {
        if (m_outbound.state() == QLocalSocket::ConnectedState)
            m_outbound.write("ping");
    });
    connect(&m_silence, &QTimer::timeout, this, [this] { QProcess::startDetached(m_peerExecutable, {}); });
    connect(&m_retry, &QTimer::timeout, this, [this] {
        if (m_outbound.state() == QLocalSocket::UnconnectedState)
            connectToPeer();
    });

    connectToPeer();
    m_ping.start(2000);
    m_silence.start(5000); // repeats: a start restarts it, too
    if (m_link == Link::ForEver)
        m_retry.start(1000);
    return true;
}

void PlainGuardian::connectToPeer() { m_outbound.connectToServer(m_peer); }

void PlainGuardian::connectionEnded()
{
    if (m_triedAgain || m_link == Link::ForEver)
        return;
    m_triedAgain = true;
    // Not from within the signal: the socket is not closed yet.
    QTimer::singleShot(0, this, [this] { connectToPeer(); });
}

void PlainGuardian::listenTo(QLocalSocket *inbound)
{
    connect(inbound, &QLocalSocket::readyRead, this, [this, inbound] {
        inbound->readAll();
        m_silence.start(5000);
    });
    connect(inbound, &QLocalSocket::disconnected, inbound, &QObject::deleteLater);
}

int main(int argc, char *argv[])
{
    QCoreApplication app(argc, argv);
    const QStringList args = app.arguments();
    if (args.size() < 4) {
        QTextStream(stderr) << "usage: qtplain SELF PEER EXECUTABLE [--reconnect]\n";
        return 2;
    }
    PlainGuardian guardian;
    const auto link = args.contains(QStringLiteral("--reconnect")) ? PlainGuardian::Link::ForEver : PlainGuardian::Link::Once;
    if (!guardian.init(args[1], args[2], args[3], link)) {
        QTextStream(stderr) << "qtplain: cannot listen as " << args[1] << "\n";
        return 1;
    }
    return app.exec();
}
