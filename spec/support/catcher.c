/* A server for specs: takes one HTTP request on a port that the system chooses, prints the port,
 * then the request, and answers. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    const int s = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (bind(s, (struct sockaddr *)&a, sizeof a) != 0 || listen(s, 1) != 0 ||
        getsockname(s, (struct sockaddr *)&a, &n) != 0)
        return 1;
    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    alarm(60);
    for (int left = argc > 1 ? atoi(argv[1]) : 1; left > 0; left--) {
        const int c = accept(s, NULL, NULL);
        char text[8192];
        size_t got = 0, want = sizeof text - 1;
        while (got < want) {
            const ssize_t k = read(c, text + got, want - got);
            if (k <= 0) break;
            text[got += (size_t)k] = 0;
            const char *head = strstr(text, "\r\n\r\n"), *len = strstr(text, "Content-Length: ");
            if (head && len) want = (size_t)(head + 4 - text) + (size_t)atoi(len + 16);
        }
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        if (write(c, answer, sizeof answer - 1) < 0) return 1;
        close(c);
        fwrite(text, 1, got, stdout);
        puts("\n--");
        fflush(stdout);
    }
    return 0;
}
