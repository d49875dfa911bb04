/* Commands on standard input while signed in. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include <account.h>

/* Reads commands from now on; `list` is called on the command list, `quit` once, on the command quit or at the end of
 * the input. */
void commands_listen(PurpleAccount *account, void (*list)(void), void (*quit)(void));

/* Makes `status_id` (an id of the plugin: available, busy, …) with `note` (may be NULL) the account's status.
 * FALSE when the plugin has no such status. */
gboolean commands_set_status(PurpleAccount *account, const char *status_id, const char *note);

/* The ids commands_set_status takes, separated by blanks; to be freed. */
char *commands_status_ids(PurpleAccount *account);

#endif
