/* test_containerd.c - our gRPC client against a real server: containerd's CRI
 * over a unix socket. Says so and passes where there is no containerd or no
 * root to run it. */
#include "lib/base/file.h"
#include "lib/net/grpc.h"
#include "lib/net/http_client.h"
#include "lib/net/bytes.h"
#include "test/unit/unit.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/trireme-containerd-XXXXXX";
static pid_t daemon_pid = -1;

static void write_config(const char *path)
{
    AUTO_FREE char *text =
        xasprintf("version = 2\n"
                  "root = \"%s/root\"\n"
                  "state = \"%s/state\"\n"
                  "[grpc]\n  address = \"%s/s\"\n"
                  "[ttrpc]\n  address = \"%s/t\"\n"
                  "[plugins.\"io.containerd.grpc.v1.cri\"]\n  restrict_oom_score_adj = true\n"
                  "[plugins.\"io.containerd.internal.v1.opt\"]\n  path = \"%s/opt\"\n",
                  dir, dir, dir, dir, dir);
    ck_assert_int_eq(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
}

static void start_containerd(void)
{
    AUTO_FREE char *config = xasprintf("%s/config.toml", dir);
    AUTO_FREE char *log = xasprintf("%s/log", dir);
    write_config(config);
    daemon_pid = fork();
    ck_assert_int_ge(daemon_pid, 0);
    if (daemon_pid == 0) {
        int fd = open(log, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execlp("containerd", "containerd", "--config", config, (char *)NULL);
        _exit(127);
    }
}

static void stop_containerd(void)
{
    int status;
    kill(daemon_pid, SIGTERM);
    waitpid(daemon_pid, &status, 0);
    file_remove_tree(dir, NULL);
}

/* The client keeps trying until the socket is there: that is what the rounds are for. */
static struct http_sync *connect_to_containerd(void)
{
    struct http_sync *sync = NULL;
    AUTO_FREE char *endpoint = xasprintf("unix://%s/s", dir);
    const char *endpoints[] = {endpoint};
    struct http_client_config config = {
        .endpoints = endpoints,
        .endpoint_count = 1,
        .protocol = HTTP_CLIENT_H2,
        .connect_rounds = 1000,
        .backoff_max_ms = 100,
    };
    ck_assert_int_eq(http_sync_new(&config, &sync, NULL), 0);
    return sync;
}

static bool contains(const struct net_bytes *b, const char *text)
{
    return str_find_str(net_bytes_str(b), str_of(text)) >= 0;
}

/* CRI may still be loading when the socket answers: the call is repeated then. */
static int call_when_ready(struct http_sync *sync, const struct grpc_call_config *call,
                           struct net_bytes **ret, enum grpc_status *ret_status, struct error *err)
{
    int code = E_UNAVAILABLE;
    for (int i = 0; i < 100 && code != 0; i++) {
        code = grpc_sync_call(sync, call, ret, ret_status, err);
        bool loading = code != 0 && (*ret_status == GRPC_UNAVAILABLE ||
                                     strstr(err->message, "server is not initialized") != NULL ||
                                     strstr(err->message, "unknown service") != NULL);
        if (code != 0 && !loading)
            break;
        if (code != 0)
            usleep(50000);
    }
    return code;
}

/* Version and ListContainers answer; a container that is not there is NotFound. */
START_TEST(cri)
{
    struct error err = {0};
    enum grpc_status status = GRPC_OK;
    struct net_bytes *reply = NULL, *empty = net_bytes_new(0);
    start_containerd();
    struct http_sync *sync = connect_to_containerd();
    struct grpc_call_config version = {
        .method = "/runtime.v1.RuntimeService/Version", .request = empty, .timeout_ms = 30000};
    int code = call_when_ready(sync, &version, &reply, &status, &err);
    ck_assert_msg(code == 0, "%s", err.message);
    ck_assert(contains(reply, "containerd"));
    ck_assert(contains(reply, "v1"));
    net_bytes_unref(reply);
    struct grpc_call_config list = {.method = "/runtime.v1.RuntimeService/ListContainers",
                                    .request = empty,
                                    .timeout_ms = 30000};
    code = grpc_sync_call(sync, &list, &reply, &status, &err);
    ck_assert_msg(code == 0, "%s", err.message);
    ck_assert_uint_eq(reply->len, 0);
    net_bytes_unref(reply);
    /* ContainerStatusRequest{container_id = "nope"} */
    struct net_bytes *nope = net_bytes_copy("\x0a\x04nope", 6);
    struct grpc_call_config one = {.method = "/runtime.v1.RuntimeService/ContainerStatus",
                                   .request = nope,
                                   .timeout_ms = 30000};
    code = grpc_sync_call(sync, &one, &reply, &status, &err);
    ck_assert_int_eq(code, E_NOT_FOUND);
    ck_assert_int_eq(status, GRPC_NOT_FOUND);
    ck_assert_msg(strstr(err.message, "nope") != NULL, "%s", err.message);
    net_bytes_unref(nope);
    net_bytes_unref(empty);
    http_sync_free(sync);
}
END_TEST

int main(void)
{
    if (geteuid() != 0 || system("containerd --version >/dev/null 2>&1") != 0) {
        printf("no root or no containerd: its CRI is not tried\n0 passed, 0 failed\n");
        return EXIT_SUCCESS;
    }
    if (mkdtemp(dir) == NULL)
        return EXIT_FAILURE;
    Suite *suite = suite_create("containerd");
    TCase *tc = tcase_create("all");
    tcase_set_timeout(tc, 60);
    UNIT_TEST(cri);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    printf("%d passed, %d failed\n", srunner_ntests_run(runner) - failed, failed);
    srunner_free(runner);
    if (daemon_pid > 0)
        stop_containerd();
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
