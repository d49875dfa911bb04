/*
 * sipe_signin: signs in with Debian's pidgin-sipe plugin, without a user interface, and tells what happens.
 *
 * A counterpart for tests: it judges our server through a client we did not write. Every event is one JSON object on
 * a line of standard output (README.md lists them). It leaves with 0 when it is signed on and the contact list has been
 * quiet for two seconds; --stay keeps it signed in and taking commands on standard input instead.
 */
#include "commands.h"
#include "headless.h"
#include "json_line.h"
#include "sax1.h"

#include <dlfcn.h>
#include <glib-unix.h>
#include <purple.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum exit_status {
    SIGNED_IN = 0,
    PROOF_FAILED = 1,
    WRONG_USE = 2,
    NOT_INSTALLED = 3,
    TIMED_OUT = 4,
    LOST_WITHOUT_REASON = 5,
    CONNECTION_ERROR = 10, /* plus the reason number of libpurple, 0 to 16 */
};

#define QUIET_MS 2000

static struct {
    char *user, *login, *password_env, *server, *auth, *transport, *status;
    char *home, *ca_dir, *debug;
    int seconds;
    gboolean stay, sso, prove_xml;
} options;

static struct {
    GMainLoop *loop;
    PurpleAccount *account;
    guint deadline, quiet;
    gboolean signed_on, leaving;
    enum exit_status status;
} run;

static void leave(enum exit_status status)
{
    if (run.leaving)
        return;
    run.leaving = TRUE;
    run.status = status;
    g_main_loop_quit(run.loop);
}

/* ---- connection ---- */

static const char *const reasons[] = {
    "network-error", "invalid-username", "authentication-failed", "authentication-impossible", "no-ssl-support",
    "encryption-error", "name-in-use", "invalid-settings", "cert-not-provided", "cert-untrusted", "cert-expired",
    "cert-not-activated", "cert-hostname-mismatch", "cert-fingerprint-mismatch", "cert-self-signed",
    "cert-other-error", "other-error",
};

static void on_progress(PurpleConnection *connection, const char *text, size_t step, size_t step_count)
{
    (void)connection;
    json_line_begin("connecting");
    json_line_text("text", text);
    json_line_number("step", (gint64)step);
    json_line_number("steps", (gint64)step_count);
    json_line_end();
}

static void on_connection_error(PurpleConnection *connection, PurpleConnectionError reason, const char *text)
{
    (void)connection;
    json_line_begin("connection-error");
    json_line_number("code", reason);
    json_line_text("reason", (size_t)reason < G_N_ELEMENTS(reasons) ? reasons[reason] : "unknown");
    json_line_text("text", text);
    json_line_truth("signed_on", run.signed_on);
    json_line_end();
    leave(CONNECTION_ERROR + (int)reason);
}

static void on_disconnected(PurpleConnection *connection)
{
    (void)connection;
    json_line_begin("disconnected");
    json_line_end();
    leave(LOST_WITHOUT_REASON);
}

static PurpleConnectionUiOps connection_doors = {
    .connect_progress = on_progress,
    .disconnected = on_disconnected,
    .report_disconnect_reason = on_connection_error,
};

/* ---- contacts ---- */

/* The plugin's own name for a status, and what it means to libpurple. */
static void put_status(PurpleStatus *status)
{
    PurpleStatusPrimitive primitive = purple_status_type_get_primitive(purple_status_get_type(status));

    json_line_text("status", purple_status_get_id(status));
    json_line_text("primitive", purple_primitive_get_id_from_type(primitive));
    json_line_text("message", purple_status_get_attr_string(status, "message"));
}

static void put_buddy(PurpleBuddy *buddy)
{
    PurpleGroup *group = purple_buddy_get_group(buddy);
    PurpleStatus *status = purple_presence_get_active_status(purple_buddy_get_presence(buddy));

    json_line_text("name", purple_buddy_get_name(buddy));
    json_line_text("alias", purple_buddy_get_alias_only(buddy));
    json_line_text("group", group ? purple_group_get_name(group) : NULL);
    put_status(status);
}

/* Each buddy once per group it is in, with all that is known of it by now. */
static void report_contacts(const char *last_event)
{
    GSList *buddies = purple_find_buddies(run.account, NULL);

    for (GSList *each = buddies; each; each = each->next) {
        json_line_begin("contact");
        put_buddy(each->data);
        json_line_end();
    }
    json_line_begin(last_event);
    json_line_number("contacts", g_slist_length(buddies));
    json_line_end();
    g_slist_free(buddies);
}

static void on_list(void)
{
    report_contacts("listed");
}

/* The contact list has been quiet. */
static gboolean on_quiet(gpointer unused)
{
    (void)unused;
    run.quiet = 0;
    report_contacts("settled");
    if (!options.stay)
        leave(SIGNED_IN);
    return G_SOURCE_REMOVE;
}

static void wait_for_quiet(void)
{
    if (run.quiet)
        g_source_remove(run.quiet);
    run.quiet = g_timeout_add(QUIET_MS, on_quiet, NULL);
}

/* Sign-off marks every buddy offline; once we leave that is no news. */
static void report_buddy(const char *event, PurpleBuddy *buddy)
{
    if (run.leaving || purple_buddy_get_account(buddy) != run.account)
        return;
    json_line_begin(event);
    put_buddy(buddy);
    json_line_end();
    if (run.quiet)
        wait_for_quiet();
}

static void on_buddy_added(PurpleBuddy *buddy)
{
    report_buddy("buddy-added", buddy);
}

static void on_buddy_removed(PurpleBuddy *buddy)
{
    report_buddy("buddy-removed", buddy);
}

static void on_buddy_status(PurpleBuddy *buddy, PurpleStatus *before, PurpleStatus *now)
{
    (void)before, (void)now;
    report_buddy("buddy-status", buddy);
}

/* libpurple tells of coming and going in signals of their own. */
static void on_buddy_presence(PurpleBuddy *buddy)
{
    report_buddy("buddy-status", buddy);
}

static void on_aliased(PurpleBlistNode *node, const char *before)
{
    (void)before;
    if (PURPLE_BLIST_NODE_IS_BUDDY(node))
        report_buddy("buddy-alias", (PurpleBuddy *)node);
}

/* ---- own status, privacy and messages ---- */

static void on_own_status(PurpleAccount *account, PurpleStatus *before, PurpleStatus *now)
{
    (void)before;
    if (run.leaving || account != run.account)
        return;
    json_line_begin("own-status");
    put_status(now);
    json_line_end();
}

static void report_privacy(const char *event, PurpleAccount *account, const char *name)
{
    if (run.leaving || account != run.account)
        return;
    json_line_begin(event);
    json_line_text("name", name);
    json_line_end();
}

static void on_blocked(PurpleAccount *account, const char *name)
{
    report_privacy("blocked", account, name);
}

static void on_unblocked(PurpleAccount *account, const char *name)
{
    report_privacy("unblocked", account, name);
}

static PurplePrivacyUiOps privacy_doors = { .deny_added = on_blocked, .deny_removed = on_unblocked };

static void on_message(PurpleAccount *account, const char *sender, const char *text)
{
    (void)account;
    json_line_begin("im-received");
    json_line_text("from", sender);
    json_line_text("text", text);
    json_line_end();
}

static void on_typing(PurpleAccount *account, const char *sender)
{
    (void)account;
    json_line_begin("typing");
    json_line_text("from", sender);
    json_line_end();
}

/* What a person would read in the window of a conversation that is not a message from the other side: our own text as
 * sent, and the plugin's complaints about it. */
static void on_conversation_text(PurpleConversation *conversation, const char *name, const char *alias, const char *text,
                                 PurpleMessageFlags flags, time_t when)
{
    (void)name, (void)alias, (void)when;
    if (flags & PURPLE_MESSAGE_RECV)
        return;
    json_line_begin(flags & PURPLE_MESSAGE_ERROR ? "im-error" : flags & PURPLE_MESSAGE_SEND ? "im-sent" : "im-note");
    json_line_text("with", purple_conversation_get_name(conversation));
    json_line_text("text", text);
    json_line_end();
}

static PurpleConversationUiOps conversation_doors = { .write_conv = on_conversation_text };

/* ---- life of a sign-in ---- */

static void on_quit(void)
{
    leave(SIGNED_IN);
}

static void on_signed_on(PurpleConnection *connection)
{
    (void)connection;
    run.signed_on = TRUE;
    g_source_remove(run.deadline);
    run.deadline = 0;
    json_line_begin("signed-on");
    json_line_text("account", purple_account_get_username(run.account));
    json_line_end();
    wait_for_quiet();
    if (options.stay)
        commands_listen(run.account, on_list, on_quit);
}

static gboolean on_deadline(gpointer unused)
{
    (void)unused;
    run.deadline = 0;
    json_line_begin("timeout");
    json_line_number("seconds", options.seconds);
    json_line_end();
    leave(TIMED_OUT);
    return G_SOURCE_REMOVE;
}

/* Asked to end from outside: signs out properly. */
static gboolean on_signal(gpointer unused)
{
    (void)unused;
    leave(run.signed_on ? SIGNED_IN : TIMED_OUT);
    return G_SOURCE_CONTINUE;
}

static void connect_signals(void)
{
    static int handle;
    const struct {
        void *instance;
        const char *signal;
        PurpleCallback callback;
    } wanted[] = {
        { purple_connections_get_handle(), "signed-on", PURPLE_CALLBACK(on_signed_on) },
        { purple_blist_get_handle(), "buddy-added", PURPLE_CALLBACK(on_buddy_added) },
        { purple_blist_get_handle(), "buddy-removed", PURPLE_CALLBACK(on_buddy_removed) },
        { purple_blist_get_handle(), "buddy-status-changed", PURPLE_CALLBACK(on_buddy_status) },
        { purple_blist_get_handle(), "buddy-signed-on", PURPLE_CALLBACK(on_buddy_presence) },
        { purple_blist_get_handle(), "buddy-signed-off", PURPLE_CALLBACK(on_buddy_presence) },
        { purple_blist_get_handle(), "blist-node-aliased", PURPLE_CALLBACK(on_aliased) },
        { purple_accounts_get_handle(), "account-status-changed", PURPLE_CALLBACK(on_own_status) },
        { purple_conversations_get_handle(), "received-im-msg", PURPLE_CALLBACK(on_message) },
        { purple_conversations_get_handle(), "buddy-typing", PURPLE_CALLBACK(on_typing) },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        purple_signal_connect(wanted[i].instance, wanted[i].signal, &handle, wanted[i].callback, NULL);
    purple_connections_set_ui_ops(&connection_doors);
    purple_conversations_set_ui_ops(&conversation_doors);
    purple_privacy_set_ui_ops(&privacy_doors);
}

/* pidgin-sipe keeps "address,login" as the user name; without a login it signs in with the address. */
static PurpleAccount *make_account(void)
{
    const char *password = options.password_env ? g_getenv(options.password_env) : NULL;
    g_autofree char *name =
        options.login && *options.login ? g_strconcat(options.user, ",", options.login, NULL) : g_strdup(options.user);
    PurpleAccount *account = purple_account_new(name, "prpl-sipe");

    purple_account_set_string(account, "server", options.server ? options.server : "");
    purple_account_set_string(account, "authentication", options.auth ? options.auth : "auto");
    purple_account_set_string(account, "transport", options.transport ? options.transport : "auto");
    purple_account_set_bool(account, "sso", options.sso);
    if (password)
        purple_account_set_password(account, password);
    purple_accounts_add(account);
    return account;
}

static enum exit_status sign_in(void)
{
    run.loop = g_main_loop_new(NULL, FALSE);
    run.account = make_account();
    connect_signals();

    /* The status is set first: an enabled account connects as soon as its status is an online one. */
    const char *status = options.status ? options.status : "available";
    if (!commands_set_status(run.account, status, NULL)) {
        g_autofree char *ids = commands_status_ids(run.account);
        fprintf(stderr, "sipe_signin: no status \"%s\"; the plugin has: %s\n", status, ids);
        return WRONG_USE;
    }
    g_unix_signal_add(SIGTERM, on_signal, NULL);
    g_unix_signal_add(SIGINT, on_signal, NULL);
    run.deadline = g_timeout_add_seconds((guint)options.seconds, on_deadline, NULL);
    purple_account_set_enabled(run.account, HEADLESS_UI_ID, TRUE);
    if (!run.leaving)
        g_main_loop_run(run.loop);
    run.leaving = TRUE;
    purple_core_quit();
    return run.status;
}

/* ---- proof of the libxml2 work-around ---- */

/* Lets the plugin itself parse a document and looks whether it saw the element. */
static gboolean plugin_sees_elements(void)
{
    void *plugin = dlopen(purple_find_prpl("prpl-sipe")->path, RTLD_NOW);
    void *(*parse)(const char *, gsize);
    const char *(*name_of)(const void *);
    static const char document[] = "<outer><inner/></outer>";

    if (!plugin)
        return FALSE;
    *(void **)&parse = dlsym(plugin, "sipe_xml_parse");
    *(void **)&name_of = dlsym(plugin, "sipe_xml_name");
    if (!parse || !name_of)
        return FALSE;
    void *parsed = parse(document, sizeof document - 1);
    return parsed && g_strcmp0(name_of(parsed), "outer") == 0;
}

static enum exit_status prove_xml(void)
{
    struct sax1_proof proof = sax1_prove();
    gboolean plugin = plugin_sees_elements();

    json_line_begin("self-test-xml");
    json_line_number("elements", proof.through_here);
    json_line_number("elements_of_stock_libxml2", proof.stock);
    json_line_truth("plugin_sees_elements", plugin);
    json_line_end();
    return proof.through_here == 2 && plugin ? SIGNED_IN : PROOF_FAILED;
}

/* ---- command line ---- */

static const GOptionEntry entries[] = {
    { "user", 0, 0, G_OPTION_ARG_STRING, &options.user, "SIP address, without sip:", "ALICE@DOMAIN" },
    { "login", 0, 0, G_OPTION_ARG_STRING, &options.login, "login name, if not the address", "LOGIN" },
    { "password-env", 0, 0, G_OPTION_ARG_STRING, &options.password_env, "environment variable with the password", "VAR" },
    { "server", 0, 0, G_OPTION_ARG_STRING, &options.server, "named server; empty means discovery", "HOST:PORT" },
    { "auth", 0, 0, G_OPTION_ARG_STRING, &options.auth, "ntlm, krb5, tls-dsk or auto (default)", "SCHEME" },
    { "sso", 0, 0, G_OPTION_ARG_NONE, &options.sso, "use the ticket cache instead of a password", NULL },
    { "transport", 0, 0, G_OPTION_ARG_STRING, &options.transport, "tls, tcp or auto (default)", "TRANSPORT" },
    { "status", 0, 0, G_OPTION_ARG_STRING, &options.status, "status to sign in with (default: available)", "NAME" },
    { "home", 0, 0, G_OPTION_ARG_FILENAME, &options.home, "libpurple's directory (default: ~/.purple)", "DIR" },
    { "ca-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.ca_dir, "trust the *.pem and *.crt in DIR", "DIR" },
    { "seconds", 0, 0, G_OPTION_ARG_INT, &options.seconds, "time allowed until signed on (default: 30)", "N" },
    { "stay", 0, 0, G_OPTION_ARG_NONE, &options.stay, "remain signed in and read commands until quit or end of input", NULL },
    { "debug", 0, 0, G_OPTION_ARG_FILENAME, &options.debug, "write libpurple's log, with whole messages and keys, to FILE", "FILE" },
    { "self-test-xml", 0, 0, G_OPTION_ARG_NONE, &options.prove_xml, "prove the libxml2 work-around and leave", NULL },
    G_OPTION_ENTRY_NULL,
};

static gboolean is_one_of(const char *value, const char *const *allowed)
{
    return !value || g_strv_contains(allowed, value);
}

/* NULL when the options make sense, otherwise what is wrong with them. */
static const char *check_options(void)
{
    static const char *const schemes[] = { "auto", "ntlm", "krb5", "tls-dsk", NULL };
    static const char *const transports[] = { "auto", "tls", "tcp", NULL };

    if (options.seconds < 1)
        return "--seconds takes a number of at least 1";
    if (options.prove_xml)
        return NULL;
    if (!options.user || !strchr(options.user, '@') || g_str_has_prefix(options.user, "sip:"))
        return "--user ALICE@DOMAIN is needed, without sip:";
    if (!options.sso && (!options.password_env || !g_getenv(options.password_env)))
        return "--password-env VAR is needed and VAR must be set (or --sso)";
    if (!is_one_of(options.auth, schemes))
        return "--auth is one of auto, ntlm, krb5, tls-dsk";
    if (!is_one_of(options.transport, transports))
        return "--transport is one of auto, tls, tcp";
    return NULL;
}

static gboolean parse_options(int *count, char ***arguments)
{
    g_autoptr(GOptionContext) context = g_option_context_new("- sign in with pidgin-sipe and report as JSON lines");
    g_autoptr(GError) error = NULL;

    options.seconds = 30;
    g_option_context_add_main_entries(context, entries, NULL);
    const char *wrong = NULL;
    if (!g_option_context_parse(context, count, arguments, &error))
        wrong = error->message;
    else
        wrong = *count > 1 ? "no arguments but options" : check_options();
    if (wrong)
        fprintf(stderr, "sipe_signin: %s (--help tells more)\n", wrong);
    return !wrong;
}

int main(int count, char **arguments)
{
    json_line_clock_starts();
    signal(SIGPIPE, SIG_IGN);
    if (!parse_options(&count, &arguments))
        return WRONG_USE;

    g_autofree char *home =
        options.home ? g_strdup(options.home) : g_build_filename(g_get_home_dir(), ".purple", NULL);
    const char *missing = headless_start(home, options.ca_dir, options.debug);
    if (missing) {
        fprintf(stderr, "sipe_signin: %s\n", missing);
        return NOT_INSTALLED;
    }
    return options.prove_xml ? prove_xml() : sign_in();
}
