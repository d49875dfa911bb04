#include "commands.h"
#include "json_line.h"

#include <purple.h>
#include <string.h>

static PurpleAccount *speaker;
static void (*list_callback)(void), (*quit_callback)(void);

/* ---- status ---- */

char *commands_status_ids(PurpleAccount *account)
{
    GString *ids = g_string_new(NULL);

    for (GList *each = purple_account_get_status_types(account); each; each = each->next) {
        PurpleStatusType *type = each->data;
        if (purple_status_type_is_user_settable(type))
            g_string_append_printf(ids, "%s%s", ids->len ? " " : "", purple_status_type_get_id(type));
    }
    return g_string_free(ids, FALSE);
}

gboolean commands_set_status(PurpleAccount *account, const char *status_id, const char *note)
{
    PurpleStatusType *type = purple_account_get_status_type(account, status_id);

    if (!type || !purple_status_type_is_user_settable(type))
        return FALSE;
    if (note)
        purple_account_set_status(account, status_id, TRUE, "message", note, NULL);
    else
        purple_account_set_status(account, status_id, TRUE, NULL);
    return TRUE;
}

/* ---- the commands; each returns NULL when done, otherwise why not ---- */

static const char *do_status(char *status_id, char *note)
{
    if (!*status_id)
        return "status NAME [NOTE]";
    return commands_set_status(speaker, status_id, *note ? note : NULL) ? NULL : "the plugin has no such status";
}

/* The plugin names its buddies by SIP URI. */
static char *buddy_uri(const char *address)
{
    return g_str_has_prefix(address, "sip:") ? g_strdup(address) : g_strconcat("sip:", address, NULL);
}

/* Made when there is none; the server learns of it with the first buddy in it. */
static PurpleGroup *group_named(const char *name)
{
    PurpleGroup *group = purple_find_group(name);

    if (!group) {
        group = purple_group_new(name);
        purple_blist_add_group(group, NULL);
    }
    return group;
}

static const char *do_add(char *address, char *group_name)
{
    if (!*address || !*group_name)
        return "add BUDDY GROUP";

    g_autofree char *uri = buddy_uri(address);
    PurpleGroup *group = group_named(group_name);
    if (purple_find_buddy_in_group(speaker, uri, group))
        return "already in that group";
    PurpleBuddy *buddy = purple_buddy_new(speaker, uri, NULL);
    purple_blist_add_buddy(buddy, NULL, group, NULL);
    purple_account_add_buddy_with_invite(speaker, buddy, NULL);
    return NULL;
}

/* Removes the buddy from every group it is in. */
static const char *do_remove(char *address, char *unused)
{
    (void)unused;
    if (!*address)
        return "remove BUDDY";

    g_autofree char *uri = buddy_uri(address);
    GSList *buddies = purple_find_buddies(speaker, uri);
    if (!buddies)
        return "no such buddy";
    for (GSList *each = buddies; each; each = each->next) {
        PurpleBuddy *buddy = each->data;
        purple_account_remove_buddy(speaker, buddy, purple_buddy_get_group(buddy));
        purple_blist_remove_buddy(buddy);
    }
    g_slist_free(buddies);
    return NULL;
}

/* Takes the buddy out of the group it is found in first and puts it into this one, as dragging it there does. */
static const char *do_move(char *address, char *group_name)
{
    if (!*address || !*group_name)
        return "move BUDDY GROUP";

    g_autofree char *uri = buddy_uri(address);
    PurpleBuddy *buddy = purple_find_buddy(speaker, uri);
    if (!buddy)
        return "no such buddy";
    purple_blist_add_buddy(buddy, NULL, group_named(group_name), NULL);
    return NULL;
}

static const char *do_alias(char *address, char *alias)
{
    if (!*address || !*alias)
        return "alias BUDDY NAME";

    g_autofree char *uri = buddy_uri(address);
    PurpleBuddy *buddy = purple_find_buddy(speaker, uri);
    if (!buddy)
        return "no such buddy";
    purple_blist_alias_buddy(buddy, alias);
    serv_alias_buddy(buddy);
    return NULL;
}

static const char *do_rename_group(char *name, char *new_name)
{
    if (!*name || !*new_name)
        return "rename-group GROUP NAME";

    PurpleGroup *group = purple_find_group(name);
    if (!group)
        return "no such group";
    if (purple_find_group(new_name))
        return "there is a group of that name";
    purple_blist_rename_group(group, new_name);
    return NULL;
}

static const char *do_remove_group(char *name, char *unused)
{
    (void)unused;
    if (!*name)
        return "remove-group GROUP";

    PurpleGroup *group = purple_find_group(name);
    if (!group)
        return "no such group";
    if (purple_blist_node_get_first_child(PURPLE_BLIST_NODE(group)))
        return "the group is not empty";
    purple_blist_remove_group(group);
    return NULL;
}

/* What the menu of a buddy does: its address is denied, at the server too. */
static const char *do_block(char *address, char *unused)
{
    (void)unused;
    if (!*address)
        return "block BUDDY";

    g_autofree char *uri = buddy_uri(address);
    return purple_privacy_deny_add(speaker, uri, FALSE) ? NULL : "blocked already";
}

static const char *do_unblock(char *address, char *unused)
{
    (void)unused;
    if (!*address)
        return "unblock BUDDY";

    g_autofree char *uri = buddy_uri(address);
    return purple_privacy_deny_remove(speaker, uri, FALSE) ? NULL : "not blocked";
}

static const char *do_list(char *unused, char *also_unused)
{
    (void)unused, (void)also_unused;
    list_callback();
    return NULL;
}

static const char *do_im(char *address, char *text)
{
    if (!*address || !*text)
        return "im BUDDY TEXT";

    g_autofree char *uri = buddy_uri(address);
    g_autofree char *html = g_markup_escape_text(text, -1);
    PurpleConversation *conversation =
        purple_find_conversation_with_account(PURPLE_CONV_TYPE_IM, uri, speaker);
    if (!conversation)
        conversation = purple_conversation_new(PURPLE_CONV_TYPE_IM, speaker, uri);
    purple_conv_im_send(PURPLE_CONV_IM(conversation), html);
    return NULL;
}

/* Tells the other side that a message is being written; the plugin does so inside an open conversation only. */
static const char *do_typing(char *address, char *unused)
{
    (void)unused;
    if (!*address)
        return "typing BUDDY";

    g_autofree char *uri = buddy_uri(address);
    serv_send_typing(purple_account_get_connection(speaker), uri, PURPLE_TYPING);
    return NULL;
}

/* Closes the conversation, as closing its window does. */
static const char *do_close(char *address, char *unused)
{
    (void)unused;
    if (!*address)
        return "close BUDDY";

    g_autofree char *uri = buddy_uri(address);
    PurpleConversation *conversation =
        purple_find_conversation_with_account(PURPLE_CONV_TYPE_IM, uri, speaker);
    if (!conversation)
        return "no such conversation";
    purple_conversation_destroy(conversation);
    return NULL;
}

static const char *do_quit(char *unused, char *also_unused)
{
    (void)unused, (void)also_unused;
    quit_callback();
    return NULL;
}

static const struct {
    const char *word;
    const char *(*run)(char *first, char *rest);
} commands[] = {
    { "status", do_status },
    { "add", do_add },
    { "remove", do_remove },
    { "move", do_move },
    { "alias", do_alias },
    { "rename-group", do_rename_group },
    { "remove-group", do_remove_group },
    { "block", do_block },
    { "unblock", do_unblock },
    { "list", do_list },
    { "im", do_im },
    { "typing", do_typing },
    { "close", do_close },
    { "quit", do_quit },
};

/* ---- reading ---- */

/* Cuts the first blank-separated word off `text` and returns what follows it. */
static char *cut_word(char *text)
{
    char *end = text + strcspn(text, " \t");

    if (*end)
        *end++ = '\0';
    return end + strspn(end, " \t");
}

static const char *run_command(char *text)
{
    char *first = cut_word(text);
    char *rest = cut_word(first);

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(text, commands[i].word) == 0)
            return commands[i].run(first, rest);
    return "commands are: status NAME [NOTE], add BUDDY GROUP, remove BUDDY, move BUDDY GROUP, alias BUDDY NAME, "
           "rename-group GROUP NAME, remove-group GROUP, block BUDDY, unblock BUDDY, list, im BUDDY TEXT, "
           "typing BUDDY, close BUDDY, quit";
}

static void take_line(const char *text)
{
    g_autofree char *words = g_strstrip(g_strdup(text));
    if (!*words)
        return;

    g_autofree char *as_given = g_strdup(words);
    const char *refusal = run_command(words);

    json_line_begin(refusal ? "refused" : "done");
    json_line_text("command", as_given);
    if (refusal)
        json_line_text("why", refusal);
    json_line_end();
}

static gboolean input_ready(GIOChannel *input, GIOCondition condition, gpointer unused)
{
    (void)condition, (void)unused;
    for (;;) {
        g_autofree char *text = NULL;
        switch (g_io_channel_read_line(input, &text, NULL, NULL, NULL)) {
        case G_IO_STATUS_NORMAL:
            take_line(text);
            break;
        case G_IO_STATUS_AGAIN:
            return G_SOURCE_CONTINUE;
        default:
            quit_callback();
            return G_SOURCE_REMOVE;
        }
    }
}

void commands_listen(PurpleAccount *account, void (*list)(void), void (*quit)(void))
{
    GIOChannel *input = g_io_channel_unix_new(0);

    speaker = account;
    list_callback = list;
    quit_callback = quit;
    g_io_channel_set_flags(input, G_IO_FLAG_NONBLOCK, NULL);
    g_io_add_watch(input, G_IO_IN | G_IO_HUP | G_IO_ERR, input_ready, NULL);
    g_io_channel_unref(input);
}
