// Two windows that guard each other: each shows how its peer is. Kill one, stop it with SIGSTOP, or let it hang with the button;
// it comes back. Close one, and it stays away.
//
//   twins SELF PEER [--picture FILE]      for example: twins procA procB
//
// --picture saves what the window shows as soon as the peer is up, for the tests.
#include "GuardianService.h"

#include <QApplication>
#include <QDateTime>
#include <QGridLayout>
#include <QLabel>
#include <QListWidget>
#include <QPushButton>
#include <QTextStream>
#include <QThread>
#include <QTimer>

class Window : public QWidget
{
public:
    explicit Window(GuardianService *guardian) : m_guardian(guardian)
    {
        QGridLayout *grid = new QGridLayout(this);
        grid->setContentsMargins(18, 14, 18, 18);
        grid->setVerticalSpacing(10);
        m_title.setStyleSheet(QStringLiteral("font-size: 20px; font-weight: bold"));
        m_phase.setAlignment(Qt::AlignCenter);
        m_phase.setMinimumHeight(60);
        m_numbers.setStyleSheet(QStringLiteral("color: #616161"));
        m_events.setAlternatingRowColors(true);
        grid->addWidget(&m_title, 0, 0, 1, 3);
        grid->addWidget(&m_phase, 1, 0, 1, 3);
        grid->addWidget(&m_numbers, 2, 0, 1, 3);
        grid->addWidget(&m_events, 3, 0, 1, 3);
        button(grid, 0, tr("Hang for a minute"), [] { QThread::sleep(60); });
        button(grid, 1, tr("Leave"), [guardian] { guardian->leave(QStringLiteral("button")); });
        button(grid, 2, tr("Stop both"), [guardian] { guardian->stop(QStringLiteral("button")); });
        connect(guardian, &GuardianService::phaseChanged, this, [this] { show_(); });
        connect(guardian, &GuardianService::happened, this, [this](const QString &event, const QString &reason) {
            m_events.addItem(QDateTime::currentDateTime().toString(QStringLiteral("HH:mm:ss  ")) + event + (reason.isEmpty() ? QString() : QStringLiteral(": ") + reason));
            m_events.scrollToBottom();
            show_();
        });
        resize(480, 400);
    }

private:
    template <typename F> void button(QGridLayout *grid, int column, const QString &text, F pressed)
    {
        QPushButton *b = new QPushButton(text);
        connect(b, &QPushButton::clicked, this, pressed);
        grid->addWidget(b, 4, column);
    }

    void show_()
    {
        const GuardianService::Phase phase = m_guardian->phase();
        const bool well = phase == GuardianService::Up;
        const bool away = phase == GuardianService::Left || phase == GuardianService::Ended;
        const QString colour = well ? QStringLiteral("#2e7d32") : away ? QStringLiteral("#616161") : QStringLiteral("#ef6c00");
        m_title.setText(tr("%1 guards %2").arg(m_guardian->self(), m_guardian->peer()));
        setWindowTitle(m_guardian->self());
        m_phase.setStyleSheet(QStringLiteral("color: white; font-size: 20px; border-radius: 8px; background: ") + colour);
        m_phase.setText(m_guardian->peer() + QLatin1Char(' ') + words(phase));
        const qint64 peer = m_guardian->peerPid();
        m_numbers.setText(tr("its process: %1   ·   revivals: %2   ·   this one: process %3, life %4").arg(peer ? QString::number(peer) : tr("none"))
                              .arg(m_guardian->revived()).arg(QCoreApplication::applicationPid()).arg(m_guardian->generation()));
    }

    static QString words(GuardianService::Phase phase)
    {
        switch (phase) {
        case GuardianService::Idle:
        case GuardianService::Seeking: return tr("is looked for");
        case GuardianService::Starting: return tr("is starting");
        case GuardianService::Up: return tr("is up");
        case GuardianService::Suspect: return tr("is silent");
        case GuardianService::Fencing: return tr("hangs and is ended");
        case GuardianService::Reviving:
        case GuardianService::Waiting: return tr("is dead and will be started again");
        case GuardianService::Left: return tr("has left");
        case GuardianService::Ending: return tr("is told goodbye");
        case GuardianService::Ended: return tr("is not guarded any more");
        }
        return QString();
    }

    GuardianService *m_guardian;
    QLabel m_title, m_phase, m_numbers;
    QListWidget m_events;
};

int main(int argc, char *argv[])
{
    QApplication app(argc, argv);
    const QStringList args = app.arguments();
    if (args.size() < 3) {
        QTextStream(stderr) << "usage: twins SELF PEER [--picture FILE]\n";
        return 2;
    }
    const QString self = args[1], peer = args[2];
    GuardianService guardian;
    GuardianService::handleSignals(&guardian);
    Window window(&guardian);
    // The peer is this program, too, with the names the other way round.
    if (!guardian.init(self, peer, app.applicationFilePath(), {peer, self})) {
        QTextStream(stderr) << guardian.errorString() << "\n";
        return guardian.nameTaken() ? 100 : 1;
    }
    window.show();
    if (args.size() == 5 && args[3] == QLatin1String("--picture")) {
        QObject::connect(&guardian, &GuardianService::peerUp, &window, [&window, file = args[4]] {
            QTimer::singleShot(300, &window, [&window, file] { window.grab().save(file); });
        });
    }
    return app.exec();
}
