/* libpurple without a user interface: main loop, debug file, and answers to the questions a person would be asked. */
#ifndef HEADLESS_H
#define HEADLESS_H

#include <glib.h>

#define HEADLESS_UI_ID "signpost-counterpart"

/*
 * Starts libpurple in the directory `home` (its ~/.purple), with `ca_dir` (may be NULL) as a place of trusted
 * certificates and `debug_file` (may be NULL) receiving the debug log with whole messages and session keys.
 * Returns NULL when all went well, otherwise what is wrong.
 */
const char *headless_start(const char *home, const char *ca_dir, const char *debug_file);

#endif
