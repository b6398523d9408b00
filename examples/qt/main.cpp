// A terasocket client in JSON: logs in, prints events, reconnects and resumes.
//
//   client https://host:port username password
#include <QCoreApplication>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QNetworkAccessManager>
#include <QNetworkReply>
#include <QRandomGenerator>
#include <QSslConfiguration>
#include <QTextStream>
#include <QTimer>
#include <QWebSocket>

class Client : public QObject {
public:
    Client(const QStringList &arguments) : base(arguments.at(1)) {
        authorization = "Basic " + (arguments.at(2) + ":" + arguments.at(3)).toUtf8().toBase64();
        connect(&socket, &QWebSocket::connected, this, [this] { pause = 1000; print("connected"); });
        connect(&socket, &QWebSocket::textMessageReceived, this, &Client::receive);
        connect(&socket, &QWebSocket::disconnected, this, [this] { closed(socket.closeCode()); });
        login();
    }

private:
    // login requests a websocket URL: good once, within 60 s.
    void login() {
        // the server may not have noticed a broken connection yet: replace=true
        QNetworkRequest request(QUrl(base + "/api/user/login?with_websocket=true" + (cursor == "0" ? "" : "&replace=true")));
        request.setRawHeader("Authorization", authorization);
        QNetworkReply *reply = http.get(request);
        connect(reply, &QNetworkReply::finished, this, [this, reply] {
            reply->deleteLater();
            const int status = reply->attribute(QNetworkRequest::HttpStatusCodeAttribute).toInt();
            const QString url = QJsonDocument::fromJson(reply->readAll()).object()["websocket_url"].toString();
            if (status == 0 || status == 429 || status >= 500) { // unreachable, or not accepting clients: see Retry-After
                closed(1006);
            } else if (url.isEmpty()) {
                stayAway("login refused: " + QString::number(status));
            } else {
                QNetworkRequest handshake(QUrl(url + "&since=" + cursor));
                handshake.setRawHeader("Sec-WebSocket-Protocol", "opentera.json");
                socket.open(handshake);
            }
        });
    }

    void receive(const QString &frame) {
        const QJsonObject teraEvent = QJsonDocument::fromJson(frame.toUtf8())["message"].toObject();
        cursor = teraEvent["header"]["seq"].toString(); // 64 bits, so a string
        for (const QJsonValue &value : teraEvent["events"].toArray()) {
            const QJsonObject event = value.toObject();
            const QString name = event["@type"].toString().section('.', -1);
            if (name == "ReplayIncomplete")
                print("incomplete: read again by REST");
            else if (name != "Cursor")
                print(cursor + " " + QJsonDocument(event).toJson(QJsonDocument::Compact));
        }
    }

    void closed(int code) {
        // Broken, internal error, restart, too slow. Qt (6.4) does not know 1012 and 1013 and reports 1002.
        if (code != 1006 && code != 1011 && code != 1012 && code != 1013 && code != 1002)
            return stayAway("closed with " + QString::number(code)); // 4000: kicked; 1008, 1009: fix the client
        print("coming back: " + QString::number(code));
        QTimer::singleShot(pause / 2 + QRandomGenerator::global()->bounded(pause / 2), this, &Client::login);
        pause = qMin(2 * pause, 60000);
    }

    void stayAway(const QString &why) {
        print("staying away: " + why);
        QCoreApplication::quit();
    }

    static void print(const QString &line) { QTextStream(stdout) << line << Qt::endl; }

    QString base, cursor = "0"; // the last seq
    QByteArray authorization;
    int pause = 1000; // milliseconds
    QNetworkAccessManager http;
    QWebSocket socket;
};

int main(int argc, char **argv) {
    QCoreApplication app(argc, argv);
    if (app.arguments().size() != 4)
        qFatal("usage: client https://host:port username password");
    QSslConfiguration tls = QSslConfiguration::defaultConfiguration();
    tls.addCaCertificates(qEnvironmentVariable("SSL_CERT_FILE")); // as other programs do; by default the system's only
    QSslConfiguration::setDefaultConfiguration(tls);
    Client client(app.arguments());
    return app.exec();
}
