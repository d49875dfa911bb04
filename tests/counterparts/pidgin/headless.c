#include "headless.h"
#include "json_line.h"

#include <glib-unix.h>
#include <purple.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- main loop: libpurple's timers and descriptors on glib's ---- */

struct watch {
    PurpleInputCondition wanted;
    PurpleInputFunction callback;
    gpointer data;
};

/* A hang-up or an error wakes whoever watches: the next read or write reports it. */
static gboolean watch_fired(gint fd, GIOCondition happened, gpointer data)
{
    const struct watch *watch = data;
    PurpleInputCondition condition = 0;

    if (happened & (G_IO_IN | G_IO_HUP | G_IO_ERR))
        condition |= PURPLE_INPUT_READ;
    if (happened & (G_IO_OUT | G_IO_HUP | G_IO_ERR | G_IO_NVAL))
        condition |= PURPLE_INPUT_WRITE;
    condition &= watch->wanted;
    if (condition)
        watch->callback(watch->data, fd, condition);
    return G_SOURCE_CONTINUE;
}

static guint watch_add(int fd, PurpleInputCondition wanted, PurpleInputFunction callback, gpointer data)
{
    struct watch *watch = g_new(struct watch, 1);
    GIOCondition condition = G_IO_HUP | G_IO_ERR;

    *watch = (struct watch) { wanted, callback, data };
    if (wanted & PURPLE_INPUT_READ)
        condition |= G_IO_IN;
    if (wanted & PURPLE_INPUT_WRITE)
        condition |= G_IO_OUT | G_IO_NVAL;
    return g_unix_fd_add_full(G_PRIORITY_DEFAULT, fd, condition, watch_fired, watch, g_free);
}

static PurpleEventLoopUiOps event_loop = {
    .timeout_add = g_timeout_add,
    .timeout_remove = g_source_remove,
    .input_add = watch_add,
    .input_remove = g_source_remove,
    .timeout_add_seconds = g_timeout_add_seconds,
};

/* ---- debug log ---- */

static FILE *debug_stream;

static void debug_print(PurpleDebugLevel level, const char *category, const char *text)
{
    (void)level;
    fprintf(debug_stream, "%9.3f %s: %s", (double)g_get_monotonic_time() / 1e6, category ? category : "-", text);
    fflush(debug_stream);
}

static gboolean debug_is_enabled(PurpleDebugLevel level, const char *category)
{
    (void)level;
    (void)category;
    return debug_stream != NULL;
}

static PurpleDebugUiOps debug = { .print = debug_print, .is_enabled = debug_is_enabled };

/* ---- questions: always refused, so that an untrusted certificate fails instead of being accepted ---- */

/* A question waiting for its refusal. It is answered from the main loop: whoever asks does not expect the answer before
 * the asking function has returned. */
struct question {
    PurpleRequestType type;
    GCallback refuse;
    void *user_data;
    PurpleRequestFields *fields;
    int choice;
    guint idle;
    gboolean answering, closed;
};

static void call_refusal(const struct question *question)
{
    switch (question->type) {
    case PURPLE_REQUEST_ACTION:
        ((PurpleRequestActionCb)question->refuse)(question->user_data, question->choice);
        break;
    case PURPLE_REQUEST_FIELDS:
        ((PurpleRequestFieldsCb)question->refuse)(question->user_data, question->fields);
        break;
    default:
        ((PurpleRequestInputCb)question->refuse)(question->user_data, NULL);
        break;
    }
}

static gboolean refuse_now(gpointer data)
{
    struct question *question = data;

    question->idle = 0;
    question->answering = TRUE;
    if (question->refuse)
        call_refusal(question);
    if (!question->closed)
        purple_request_close(question->type, question);
    g_free(question);
    return G_SOURCE_REMOVE;
}

static void *refuse_soon(PurpleRequestType type, GCallback refuse, void *user_data, PurpleRequestFields *fields, int choice)
{
    struct question *question = g_new0(struct question, 1);

    *question = (struct question) {
        .type = type, .refuse = refuse, .user_data = user_data, .fields = fields, .choice = choice,
    };
    question->idle = g_idle_add(refuse_now, question);
    return question;
}

/* libpurple closes a question after its answer, or during it, or before it because the asker went away. */
static void close_question(PurpleRequestType type, void *handle)
{
    struct question *question = handle;

    (void)type;
    question->closed = TRUE;
    if (question->answering)
        return;
    g_source_remove(question->idle);
    g_free(question);
}

static void report_question(const char *title, const char *primary, const char *secondary, const char *answer)
{
    json_line_begin("question");
    json_line_text("title", title);
    json_line_text("primary", primary);
    json_line_text("secondary", secondary);
    json_line_text("answer", answer);
    json_line_end();
}

static gboolean is_refusal(const char *label)
{
    static const char *const refusals[] = { "Reject", "No", "Cancel", "Deny", "Decline", "Ignore", "Close" };
    g_autofree char *plain = g_strdup(label);
    char *write = plain;

    for (const char *read = label; *read; read++)
        if (*read != '_')
            *write++ = *read;
    *write = '\0';
    for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++)
        if (strcmp(plain, refusals[i]) == 0)
            return TRUE;
    return FALSE;
}

/* Takes the action whose label refuses. Where none does, the question is left without an answer. */
static void *request_action(const char *title, const char *primary, const char *secondary, int default_action,
                            PurpleAccount *account, const char *who, PurpleConversation *conversation, void *user_data,
                            size_t action_count, va_list actions)
{
    GCallback refuse = NULL;
    const char *answer = NULL;
    int choice = 0;

    (void)default_action, (void)account, (void)who, (void)conversation;
    for (size_t i = 0; i < action_count; i++) {
        const char *label = va_arg(actions, const char *);
        GCallback callback = va_arg(actions, GCallback);
        if (!answer && is_refusal(label)) {
            answer = label;
            refuse = callback;
            choice = (int)i;
        }
    }
    report_question(title, primary, secondary, answer);
    return refuse_soon(PURPLE_REQUEST_ACTION, refuse, user_data, NULL, choice);
}

static void *request_input(const char *title, const char *primary, const char *secondary, const char *default_value,
                           gboolean multiline, gboolean masked, gchar *hint, const char *ok_text, GCallback ok,
                           const char *cancel_text, GCallback cancel, PurpleAccount *account, const char *who,
                           PurpleConversation *conversation, void *user_data)
{
    (void)default_value, (void)multiline, (void)masked, (void)hint, (void)ok_text, (void)ok;
    (void)account, (void)who, (void)conversation;
    report_question(title, primary, secondary, cancel_text);
    return refuse_soon(PURPLE_REQUEST_INPUT, cancel, user_data, NULL, 0);
}

static void *request_fields(const char *title, const char *primary, const char *secondary, PurpleRequestFields *fields,
                            const char *ok_text, GCallback ok, const char *cancel_text, GCallback cancel,
                            PurpleAccount *account, const char *who, PurpleConversation *conversation, void *user_data)
{
    (void)ok_text, (void)ok, (void)account, (void)who, (void)conversation;
    report_question(title, primary, secondary, cancel_text);
    return refuse_soon(PURPLE_REQUEST_FIELDS, cancel, user_data, fields, 0);
}

static PurpleRequestUiOps requests = {
    .request_input = request_input,
    .request_action = request_action,
    .request_fields = request_fields,
    .close_request = close_question,
};

/* ---- notices: reported, never shown ---- */

static void *notify_message(PurpleNotifyMsgType type, const char *title, const char *primary, const char *secondary)
{
    static const char *const kinds[] = { "error", "warning", "info" };

    json_line_begin("notice");
    json_line_text("kind", (size_t)type < G_N_ELEMENTS(kinds) ? kinds[type] : "other");
    json_line_text("title", title);
    json_line_text("primary", primary);
    json_line_text("secondary", secondary);
    json_line_end();
    return NULL;
}

static void *notify_formatted(const char *title, const char *primary, const char *secondary, const char *text)
{
    (void)text;
    return notify_message(PURPLE_NOTIFY_MSG_INFO, title, primary, secondary);
}

static PurpleNotifyUiOps notices = { .notify_message = notify_message, .notify_formatted = notify_formatted };

/* ---- core ---- */

static void set_debug_door(void)
{
    purple_debug_set_ui_ops(&debug);
}

static void set_other_doors(void)
{
    purple_request_set_ui_ops(&requests);
    purple_notify_set_ui_ops(&notices);
}

static PurpleCoreUiOps core = { .debug_ui_init = set_debug_door, .ui_init = set_other_doors };

/* The defaults of a desktop would write conversation logs and publish "away" for an idle keyboard. */
static void quiet_preferences(void)
{
    purple_prefs_set_bool("/purple/logging/log_ims", FALSE);
    purple_prefs_set_bool("/purple/logging/log_chats", FALSE);
    purple_prefs_set_bool("/purple/logging/log_system", FALSE);
    purple_prefs_set_string("/purple/away/idle_reporting", "none");
    purple_prefs_set_bool("/purple/away/away_when_idle", FALSE);
}

/*
 * libpurple adds certificates it accepted to tls_peers and never checks them again. With such a cache a test of trust
 * would prove nothing.
 */
static gboolean holds_cached_trust(const char *home)
{
    g_autofree char *peers = g_build_filename(home, "certificates", "x509", "tls_peers", NULL);
    GDir *directory = g_dir_open(peers, 0, NULL);
    gboolean found = directory && g_dir_read_name(directory);

    if (directory)
        g_dir_close(directory);
    return found;
}

const char *headless_start(const char *home, const char *ca_dir, const char *debug_file)
{
    if (holds_cached_trust(home))
        return "the home directory holds certificates accepted in an earlier run; use a fresh one";
    if (debug_file) {
        debug_stream = fopen(debug_file, "w");
        if (!debug_stream)
            return "the debug file cannot be written";
        g_setenv("PURPLE_UNSAFE_DEBUG", "1", TRUE);
    }
    purple_debug_set_enabled(FALSE);
    purple_util_set_user_dir(home);
    if (ca_dir)
        purple_certificate_add_ca_search_path(ca_dir);
    purple_core_set_ui_ops(&core);
    purple_eventloop_set_ui_ops(&event_loop);
    if (!purple_core_init(HEADLESS_UI_ID))
        return "libpurple did not start";
    purple_set_blist(purple_blist_new());
    quiet_preferences();
    if (!purple_ssl_is_supported())
        return "libpurple has no TLS plugin";
    if (!purple_find_prpl("prpl-sipe"))
        return "the plugin prpl-sipe is missing; install the Debian package pidgin-sipe";
    return NULL;
}
