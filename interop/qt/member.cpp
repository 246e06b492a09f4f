// A member of a pair with the class of clients/qt and without a window, for the tests.
//
//   qtmember SELF PEER COMMAND
//
// SIGUSR1 makes its main event loop hang, as a deadlock would. SIGUSR2 makes it wait inside the kernel for 8 s, in state D, as
// for a disk.
#include "GuardianService.h"

#include <QCoreApplication>
#include <QTextStream>
#include <QTimer>

#include <csignal>
#include <unistd.h>

static volatile std::sig_atomic_t hang = 0, disk = 0;

int main(int argc, char *argv[])
{
    QCoreApplication app(argc, argv);
    const QStringList args = app.arguments();
    if (args.size() != 4) {
        QTextStream(stderr) << "usage: qtmember SELF PEER COMMAND\n";
        return 2;
    }
    GuardianService guardian;
    GuardianService::handleSignals(&guardian);
    if (!guardian.init(args[1], args[2], args[3])) {
        QTextStream(stderr) << guardian.errorString() << "\n";
        return guardian.nameTaken() ? 100 : 1;
    }
    std::signal(SIGUSR1, [](int) { hang = 1; });
    std::signal(SIGUSR2, [](int) { disk = 1; });
    QTimer timer;
    QObject::connect(&timer, &QTimer::timeout, &timer, [] {
        while (hang)
            ::pause();
        if (!disk)
            return;
        disk = 0;
        if (::vfork() == 0) { // the parent cannot be woken before this ends
            ::sleep(8);
            ::_exit(0);
        }
    });
    timer.start(50);
    return app.exec();
}
