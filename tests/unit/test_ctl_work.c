/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chartwayctl at work, beyond the plain commands of test_ctl: an installation from nothing, a hospital that answers (a
 * scripted one), a pull under way. The man page is held against the options of each --help, so that neither falls behind.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/time.h"
#include "model/connection_int.h"
#include "model/org.h"
#include "model/patient.h"
#include "model/pull.h"
#include "model/pull_receipt.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"
#include "tests/lib/script_server.h"

enum { DONE = 0, FAILED = 1, USAGE = 2 };

static struct cw_test_db test;
static char out[256 * 1024], problem[64 * 1024];

static const char *path_of(const char *name)
{
    static char ring[4][128];
    static unsigned at;
    char *path = ring[at++ % 4];
    (void)snprintf(path, sizeof ring[0], "%s/%s", test.folder, name);
    return path;
}

static void put_file(const char *name, const char *content)
{
    struct cw_err err;
    ck_assert_int_eq(cw_file_replace(path_of(name), 0600, cw_span_cstr(content), &err), CW_OK);
}

static void slurp(const char *name, char *into, size_t size)
{
    CW_AUTO_STR text;
    struct cw_err err;
    cw_str_init(&text, size - 1);
    ck_assert_int_eq(cw_file_read(path_of(name), false, &text, &err), CW_OK);
    memcpy(into, cw_str_cstr(&text), text.len);
    into[text.len] = '\0';
}

static void redirect(const char *path, int to)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, to) < 0) {
        _exit(126);
    }
}

/* Runs it and keeps what it says in `out` and `problem`; gives its exit status. */
static int run_with(const char *const *arguments)
{
    char *argv[32] = { (char[]){ "chartwayctl" } };
    for (size_t i = 0; arguments[i] != NULL; i++) {
        ck_assert_uint_lt(i, CW_ARRAY_LEN(argv) - 2);
        argv[i + 1] = (char *)(uintptr_t)arguments[i];
    }
    pid_t pid = fork();
    if (pid == 0) {
        redirect(path_of("stdout"), STDOUT_FILENO);
        redirect(path_of("stderr"), STDERR_FILENO);
        execv("./chartwayctl", argv);
        _exit(127);
    }
    ck_assert_int_gt(pid, 0); /* not in the child: Check's file of messages is shared with it */
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    slurp("stdout", out, sizeof out);
    slurp("stderr", problem, sizeof problem);
    ck_assert_msg(WIFEXITED(status), "%s", problem);
    return WEXITSTATUS(status);
}
#define ctl(...) run_with((const char *const[]){ __VA_ARGS__, NULL })
#define must_do(...) \
    do { \
        int must_status = ctl(__VA_ARGS__); \
        ck_assert_msg(must_status == DONE, "exit %d: %s", must_status, problem); \
    } while (0)

static json_t *answer(void)
{
    json_t *tree = NULL;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_json_parse(cw_span_cstr(out), (struct cw_json_limits){ sizeof out, 8, CW_JSON_ARRAY_TOO }, &tree, &err);
    ck_assert_msg(rc == CW_OK, "%s: %s", err.text, out);
    return tree;
}

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    ck_assert_msg(text != NULL, "no %s in %s", name, out);
    return text;
}

static int64_t audits(const char *action)
{
    char sql[160];
    (void)snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM audit WHERE action = '%s' AND actor_kind = 2", action);
    return cw_test_db_number(&test, sql);
}

/* A configuration file like the fixture's own, with `port` of loopback allowed. */
static void write_conf(unsigned port)
{
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "[server]\norigin = https://cw.test\nsql_dir = " CW_TEST_SRCDIR "/sql\nstate_dir = %s\n"
                   "www_dir = " CW_TEST_SRCDIR "/www\nvendors_dir = " CW_TEST_SRCDIR "/conf/vendors\n"
                   "[database]\nsocket = %s\nname = %s\nuser = root\n[vault]\nmaster_keys = test=%s/master.key\n"
                   "[net]\nallow = 127.0.0.1:%u\n",
                   test.folder, cw_config_text(test.config, CW_CONF_DB_SOCKET), test.name, test.folder, port);
    put_file("chartway.conf", text);
    ck_assert_int_eq(setenv("CHARTWAY_CONF", path_of("chartway.conf"), 1), 0);
}

static void setup(void)
{
    cw_test_db_init(&test, true);
    write_conf(9);
}

static void setup_empty(void)
{
    cw_test_db_init(&test, false);
    write_conf(9);
}

static void teardown(void)
{
    cw_test_db_release(&test);
}

/* As roff spells it. */
static void add_roff(struct cw_str *str, struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        (void)cw_str_addf(str, "%s%c", text.ptr[i] == '-' ? "\\" : "", text.ptr[i]);
    }
}

/* The options of a command's --help, as roff spells them, stand in the man page. */
static void check_options(const char *page, const char *name)
{
    char words[64];
    const char *arguments[8] = { NULL };
    size_t count = 0;
    (void)snprintf(words, sizeof words, "%s", name);
    for (char *at = words, *word; (word = strsep(&at, " ")) != NULL;) {
        arguments[count++] = word;
    }
    arguments[count] = "--help";
    ck_assert_int_eq(run_with(arguments), DONE);
    struct cw_span rest = cw_span_cstr(out), at;
    while (cw_span_cut(&rest, '\n', &at)) {
        struct cw_span option;
        if (!cw_span_starts(at, CW_SPAN("  --")) || !cw_span_word(&at, &option)) {
            continue;
        }
        CW_AUTO_STR wanted;
        cw_str_init(&wanted, 128);
        add_roff(&wanted, option);
        ck_assert_msg(strstr(page, cw_str_cstr(&wanted)) != NULL, "the man page lacks %s of %s", cw_str_cstr(&wanted), name);
    }
}

/* Each command of the overview has its heading in the man page. */
START_TEST(the_man_page_knows_every_command_and_option)
{
    CW_AUTO_STR page;
    static char overview[sizeof out];
    struct cw_err err;
    cw_str_init(&page, 256 * 1024);
    ck_assert_int_eq(cw_file_read(CW_TEST_SRCDIR "/doc/chartwayctl.1", false, &page, &err), CW_OK);
    must_do("--help");
    memcpy(overview, out, sizeof out);
    struct cw_span rest = cw_span_cstr(overview), at;
    unsigned commands = 0;
    while (cw_span_cut(&rest, '\n', &at)) {
        struct cw_span word;
        char name[64] = "";
        if (!cw_span_starts(at, CW_SPAN("  "))) {
            continue;
        }
        at = cw_span_upto(at, 2 + cw_span_find_span(cw_span_from(at, 2), CW_SPAN("  "))); /* without what it does */
        while (cw_span_word(&at, &word) && word.ptr[0] >= 'a' && word.ptr[0] <= 'z') {
            size_t used = strlen(name);
            (void)snprintf(name + used, sizeof name - used, "%s%.*s", used == 0 ? "" : " ", (int)word.len, word.ptr);
        }
        CW_AUTO_STR heading;
        cw_str_init(&heading, 80);
        (void)cw_str_add_cstr(&heading, "\n.B ");
        add_roff(&heading, cw_span_cstr(name));
        (void)cw_str_add_char(&heading, '\n');
        ck_assert_msg(strstr(cw_str_cstr(&page), cw_str_cstr(&heading)) != NULL, "the man page lacks \"%s\"", name);
        check_options(cw_str_cstr(&page), name);
        commands++;
    }
    ck_assert_uint_ge(commands, 18);
}
END_TEST

START_TEST(an_installation_starts_from_nothing)
{
    ck_assert_int_eq(ctl("org", "list"), FAILED);
    ck_assert_ptr_nonnull(strstr(problem, "chartwayctl migrate"));
    must_do("migrate", "--dry-run");
    ck_assert_ptr_nonnull(strstr(out, "to run"));
    must_do("migrate");
    must_do("migrate");
    ck_assert_str_eq(out, "0 migrations run\n");
    ck_assert_int_eq(audits("schema.migrate"), 1);
    must_do("org", "list", "--json");
    ck_assert_str_eq(out, "[]\n");
    must_do("check-config");
    must_do("check-config", "--show");
    ck_assert_ptr_nonnull(strstr(out, "https://cw.test"));
    must_do("keyring", "init", path_of("second.key"));
    ck_assert_int_eq(ctl("keyring", "init", path_of("second.key")), FAILED);
    put_file("chartway.conf", "[server]\norigin = https://cw.test\ncolour = red\n");
    ck_assert_int_eq(ctl("check-config"), FAILED);
    ck_assert_ptr_nonnull(strstr(problem, "colour"));
}
END_TEST

/* From one master key to the next as the manual says, and what is said when one is lost. */
START_TEST(a_master_key_is_rotated_out)
{
    char conf[2048];
    must_do("org", "create", "Clinic", "--env", "sandbox");
    must_do("keyring", "status", "--json");
    ck_assert_ptr_nonnull(strstr(out, "\"test\""));
    must_do("keyring", "init", path_of("second.key"));
    slurp("chartway.conf", conf, sizeof conf);
    CW_AUTO_STR both, lost;
    cw_str_init(&both, 4096);
    cw_str_init(&lost, 4096);
    char *keys = strstr(conf, "master_keys = test=");
    ck_assert_ptr_nonnull(keys);
    char *rest = strchr(keys, '\n');
    cw_str_addf(&both, "%.*s second=%s\nactive = second%s", (int)(rest - conf), conf, path_of("second.key"), rest);
    cw_str_addf(&lost, "%.*smaster_keys = second=%s%s", (int)(keys - conf), conf, path_of("second.key"), rest);
    put_file("chartway.conf", cw_str_cstr(&lost));
    ck_assert_int_eq(ctl("org", "list"), FAILED); /* too soon */
    ck_assert_ptr_nonnull(strstr(problem, "'test'"));
    must_do("keyring", "status");
    ck_assert_ptr_nonnull(strstr(out, "missing"));
    ck_assert_int_eq(ctl("keyring", "verify"), FAILED);
    ck_assert_ptr_nonnull(strstr(problem, "'test'"));
    ck_assert_int_eq(ctl("keyring", "rotate"), FAILED);
    put_file("chartway.conf", cw_str_cstr(&both));
    must_do("keyring", "rotate");
    ck_assert_ptr_nonnull(strstr(out, "'second'"));
    must_do("keyring", "verify", "--all");
    put_file("chartway.conf", cw_str_cstr(&lost));
    must_do("org", "list");
    must_do("keyring", "verify");
    ck_assert_int_eq(audits("keyring.rotate"), 2);
}
END_TEST

START_TEST(what_is_made_comes_as_one_object)
{
    must_do("org", "create", "Clinic", "--env", "sandbox", "--json");
    json_t *made = answer();
    char key[512], id[64];
    ck_assert(strncmp(member(made, "id"), "org_", 4) == 0);
    ck_assert_str_eq(member(made, "environment"), "sandbox");
    json_decref(made);
    must_do("key", "create", "Clinic", "backend", "--json");
    made = answer();
    (void)snprintf(key, sizeof key, "%s", member(made, "key"));
    (void)snprintf(id, sizeof id, "%s", member(made, "id"));
    ck_assert(json_is_null(json_object_get(made, "expires_at")));
    json_decref(made);
    ck_assert_ptr_nonnull(strstr(problem, id));
    ck_assert_ptr_null(strstr(problem, key)); /* not where logs go */
}
END_TEST

static const struct script_answer hospital[] = {
    { .path = "/fhir/.well-known/smart-configuration",
      .keep = true,
      .body = "{\"authorization_endpoint\":\"/oauth/authorize\",\"token_endpoint\":\"/oauth/token\","
              "\"capabilities\":[\"launch-standalone\"],\"code_challenge_methods_supported\":[\"S256\"],"
              "\"token_endpoint_auth_methods_supported\":[\"client_secret_basic\"]}" },
    { .keep = true, .status = 404, .body = "{}" },
};

START_TEST(a_hospital_is_imported_registered_and_examined)
{
    struct script_server *server = script_server_start(hospital, CW_ARRAY_LEN(hospital));
    write_conf(script_server_port(server));
    char base[128];
    (void)snprintf(base, sizeof base, "%s", script_server_url(server, "/fhir"));
    put_file("list", base);
    must_do("source", "import", path_of("list"), "--name", "Test Hospital", "--dry-run");
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM source"), 0);
    must_do("source", "import", path_of("list"), "--name", "Test Hospital");
    must_do("source", "import", path_of("list"), "--name", "Test Hospital");
    ck_assert_ptr_nonnull(strstr(out, "1 unchanged"));
    must_do("source", "list", "--query", "test hosp", "--json");
    json_t *found = answer();
    ck_assert_uint_eq(json_array_size(found), 1);
    char source[64];
    (void)snprintf(source, sizeof source, "%s", member(json_array_get(found, 0), "id"));
    json_decref(found);
    ck_assert_int_eq(ctl("source", "list", "--limit", "0"), USAGE);
    ck_assert_int_eq(ctl("source", "approve", source), FAILED); /* nothing is held */

    ck_assert_int_eq(ctl("doctor", source), FAILED);
    ck_assert_ptr_nonnull(strstr(out, "client_registration"));
    put_file("client.secret", "s3cret-canary\n");
    ck_assert_int_eq(chmod(path_of("client.secret"), 0644), 0);
    ck_assert_int_eq(ctl("client", "add", "--source", source, "--client-id", "app-1", "--auth", "client_secret_basic",
                         "--secret-file", path_of("client.secret")), FAILED);
    ck_assert_ptr_nonnull(strstr(problem, "0600"));
    ck_assert_int_eq(chmod(path_of("client.secret"), 0600), 0);
    ck_assert_int_eq(ctl("client", "add", "--source", source, "--vendor", "epic", "--client-id", "x", "--auth", "none"), USAGE);
    ck_assert_int_eq(ctl("client", "add", "--vendor", "epic", "--client-id", "x", "--auth", "none"), USAGE);
    must_do("client", "add", "--source", source, "--client-id", "app-1", "--auth", "client_secret_basic", "--secret-file",
            path_of("client.secret"), "--slug", "test", "--json");
    json_t *client = answer();
    ck_assert_str_eq(member(client, "redirect_uri"), "https://cw.test/callback/test");
    ck_assert(json_is_null(json_object_get(client, "jwks_url")));
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(client, "hosts"), 0)), "127.0.0.1");
    json_decref(client);
    must_do("client", "add", "--vendor", "epic", "--host", "*.epic.example", "--client-id", "app-2", "--auth",
            "private_key_jwt", "--json");
    ck_assert_ptr_nonnull(strstr(out, "https://cw.test/.well-known/jwks.json"));
    must_do("client", "list");
    ck_assert_ptr_nonnull(strstr(out, "app-1"));
    ck_assert_ptr_null(strstr(out, "canary"));
    ck_assert_ptr_null(strstr(out, "2031-01-02"));
    cw_test_db_sql(&test, "INSERT INTO registration_breaker (registration, opened_at, probe_at, rejections)"
                          " SELECT id, '2031-01-02', '2031-01-02 00:01', 1 FROM client_registration WHERE client_id = 'app-2'");
    must_do("client", "list");
    ck_assert_ptr_nonnull(strstr(out, "2031-01-02T00:01")); /* the operator sees that a server rejects it */
    must_do("doctor", base, "--json");
    ck_assert_ptr_nonnull(strstr(out, "https://cw.test/callback/test"));
    script_server_stop(server);

    must_do("source", "profile", source, "--json");
    ck_assert_ptr_nonnull(strstr(out, "{\"fact\":\"profile\",\"value\":\"default\",\"detail\":\"default\"}"));
    ck_assert_int_eq(ctl("source", "profile", source, "epicc"), FAILED);
    ck_assert_int_eq(ctl("source", "profile", source, "epic", "--clear"), USAGE);
    must_do("source", "profile", source, "epic", "--json");
    ck_assert_ptr_nonnull(strstr(out, "{\"fact\":\"profile\",\"value\":\"epic\",\"detail\":\"operator\"}"));
    must_do("source", "profile", base, "--clear", "--json");
    ck_assert_ptr_nonnull(strstr(out, "\"value\":\"default\""));
    cw_test_db_sql(&test, "INSERT INTO endpoint_lesson SELECT endpoint, id, 3, 1, NOW(3), NULL, NOW(3) FROM source");
    must_do("source", "profile", source);
    ck_assert_ptr_nonnull(strstr(out, "without fhirUser; the slash of aud the other way"));
    ck_assert_ptr_nonnull(strstr(out, "worked"));
    must_do("source", "profile", source, "--forget");
    ck_assert_ptr_null(strstr(out, "fhirUser"));
    ck_assert_int_eq(ctl("doctor", source), FAILED); /* nobody answers now */
    ck_assert_ptr_nonnull(strstr(out, "reach"));
    must_do("client", "add", "--source", source, "--client-id", "app-3", "--auth", "none");
    ck_assert_ptr_nonnull(strstr(problem, "warning"));
}
END_TEST

/* ---- a patient with a connection, made through the model */

static struct cw_model m;
static struct cw_arena *arena;
static struct cw_org_id org;
static const struct cw_actor actor = { .kind = CW_ACTOR_SCHEDULER, .name = "node" };

static enum cw_code connect_tx(struct cw_db *db, void *arg, struct cw_err *err)
{
    (void)arg;
    CW_AUTO_DATA_KEY key;
    struct cw_patient wanted = { .patient_id = CW_SPAN("user_42") };
    struct cw_patient_row patient;
    struct cw_connection_id id;
    enum cw_code rc = cw_patient_upsert(&m, db, org, &wanted, arena, &patient, &key, err);
    struct connection_put put = { .id = { cw_ulid_new() },
                                  .org = org,
                                  .patient = patient,
                                  .endpoint = { cw_ulid_new() },
                                  .source = { cw_ulid_new() },
                                  .registration = { cw_ulid_new() },
                                  .session = { cw_ulid_new() },
                                  .upstream_patient = CW_SPAN("up-1"),
                                  .scopes = CW_SPAN("patient/*.rs"),
                                  .pinned = CW_SPAN("{}") };
    return rc == CW_OK ? connection_put(db, &key, &put, arena, &id, err) : rc;
}

static void make_patient(void)
{
    struct cw_err err = { 0 };
    arena = cw_arena_new((size_t)8 * 1024 * 1024);
    ck_assert_int_eq(cw_model_init(&m, test.config, 2, &err), CW_OK);
    ck_assert_int_eq(cw_org_create(&m, &actor, CW_SPAN("Clinic"), CW_ENV_SANDBOX, &org, &err), CW_OK);
    enum cw_code rc = cw_tx_pool(m.pool, connect_tx, NULL, &err);
    ck_assert_msg(rc == CW_OK, "%s: %s", err.where, err.text);
}

/* Two searches of one type and one that is not asked, as the scheduler plans them. */
static struct cw_job plan_pull(void)
{
    static const struct cw_task_new tasks[] = {
        { .kind = CW_TASK_SEARCH, .resource_type = "Observation", .url = CW_SPAN("https://h.test/Observation?a") },
        { .kind = CW_TASK_SEARCH, .resource_type = "Observation", .ordinal = 1, .url = CW_SPAN("https://h.test/Observation?b") },
        { .kind = CW_TASK_SEARCH, .resource_type = "Goal", .ordinal = 2, .skip_code = "no_scope" },
    };
    struct cw_err err = { 0 };
    struct cw_job job;
    size_t count = 0;
    ck_assert_int_eq(cw_job_claim(&m, "node", 15 * CW_SECOND_US, 1, &job, &count, &err), CW_OK);
    ck_assert_uint_eq(count, 1);
    struct cw_pull_id id = { job.subject };
    enum cw_code rc = cw_pull_plan(&m, "node", &job, id, CW_SPAN("[]"), tasks, CW_ARRAY_LEN(tasks), &err);
    ck_assert_msg(rc == CW_OK, "%s: %s", err.where, err.text);
    return job;
}

START_TEST(a_pull_is_started_and_watched)
{
    make_patient();
    ck_assert_int_eq(ctl("pull", "status"), USAGE);
    ck_assert_int_eq(ctl("pull", "status", "--patient", "nobody"), FAILED);
    must_do("pull", "status", "--patient", "user_42", "--json");
    ck_assert_str_eq(out, "[]\n");
    must_do("pull", "start", "--patient", "user_42");
    ck_assert_str_eq(out, "1 pull started\n");
    (void)plan_pull();
    must_do("pull", "status", "--patient", "user_42", "--org", "Clinic", "--json");
    json_t *pulls = answer();
    const json_t *pull = json_array_get(pulls, 0);
    ck_assert_str_eq(member(pull, "status"), "running");
    const json_t *types = json_object_get(pull, "types");
    ck_assert_uint_eq(json_array_size(types), 2);
    ck_assert_str_eq(member(json_array_get(types, 0), "type"), "Observation");
    ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(types, 0), "waiting")), 2);
    ck_assert_int_eq(json_integer_value(json_object_get(json_array_get(types, 1), "skipped")), 1);
    json_decref(pulls);
    must_do("pull", "status", "--patient", "user_42");
    ck_assert_ptr_nonnull(strstr(out, "Goal"));
    must_do("pull", "status", "--patient", "user_42", "--tasks");
    ck_assert_ptr_nonnull(strstr(out, "no_scope"));
    must_do("pull", "status", "--patient", "user_42", "--records", "--json");
    ck_assert_str_eq(out, "[]\n");
    ck_assert_int_ge(audits("pull.status"), 5);
    must_do("org", "create", "Other", "--env", "production");
    ck_assert_int_eq(ctl("pull", "start", "--patient", "user_42"), USAGE); /* whose? */
    cw_arena_free(arena);
    cw_model_release(&m);
}
END_TEST

START_TEST(a_receipt_is_printed_and_checked)
{
    static const char text[] = "{\"version\":1,\"status\":\"complete\"}";
    make_patient();
    must_do("pull", "start", "--patient", "user_42");
    struct cw_job job = plan_pull();
    struct cw_pull_id pull = { job.subject };
    struct cw_err err = { 0 };
    char id[CW_ID_TEXT_MAX];
    cw_id_emit(CW_PREFIX_PULL, pull.ulid, id);
    ck_assert_int_eq(ctl("pull", "receipt", "nonsense"), USAGE);
    ck_assert_int_eq(ctl("pull", "receipt", id), FAILED); /* it runs */
    CW_AUTO_STR jws;
    cw_str_init(&jws, CW_TOKEN_MAX);
    ck_assert_int_eq(cw_pull_receipt_sign(&m, pull, cw_span_cstr(text), &jws, &err), CW_OK);
    struct cw_pull_ending ending = { .status = CW_PULL_COMPLETE, .receipt_json = cw_span_cstr(text), .receipt_jws = cw_str_span(&jws) };
    ck_assert_int_eq(cw_pull_end(&m, "node", &job, pull, &ending, &err), CW_OK);
    must_do("pull", "receipt", id);
    ck_assert_str_eq(out, text);
    must_do("pull", "receipt", id, "--verify");
    ck_assert_str_eq(out, text);
    ck_assert_ptr_nonnull(strstr(problem, "current"));
    must_do("pull", "receipt", id, "--json");
    json_t *answered = answer();
    ck_assert_str_eq(member(answered, "signature"), cw_str_cstr(&jws));
    json_decref(answered);
    must_do("pull", "status", "--patient", "user_42", "--json");
    ck_assert_ptr_nonnull(strstr(out, "\"percent\":100"));
    cw_test_db_sql(&test, "DELETE FROM signing_key");
    ck_assert_int_eq(ctl("pull", "receipt", id, "--verify"), FAILED);
    ck_assert_str_eq(out, ""); /* what is not proved is not shown as if it were */
    ck_assert_int_ge(audits("pull.receipt"), 4);
    cw_arena_free(arena);
    cw_model_release(&m);
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    Suite *suite = suite_create("ctl at work");
    TCase *migrated = tcase_create("migrated"), *empty = tcase_create("empty");
    tcase_add_checked_fixture(migrated, setup, teardown);
    tcase_add_checked_fixture(empty, setup_empty, teardown);
    tcase_add_test(migrated, the_man_page_knows_every_command_and_option);
    tcase_add_test(empty, an_installation_starts_from_nothing);
    tcase_add_test(migrated, what_is_made_comes_as_one_object);
    tcase_add_test(migrated, a_master_key_is_rotated_out);
    tcase_add_test(migrated, a_hospital_is_imported_registered_and_examined);
    tcase_add_test(migrated, a_pull_is_started_and_watched);
    tcase_add_test(migrated, a_receipt_is_printed_and_checked);
    suite_add_tcase(suite, migrated);
    suite_add_tcase(suite, empty);
    return cw_check_main((Suite *const[]){ suite, NULL });
}
