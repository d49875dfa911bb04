#include "json_line.h"

#include <stdio.h>
#include <string.h>

static gint64 clock_start_us;
static GString *line;

void json_line_clock_starts(void)
{
    clock_start_us = g_get_monotonic_time();
}

static void append_quoted(const char *value)
{
    g_string_append_c(line, '"');
    for (const char *rest = value; *rest;) {
        const char *invalid;
        g_utf8_validate(rest, -1, &invalid);
        for (; rest < invalid; rest++) {
            if (*rest == '"' || *rest == '\\')
                g_string_append_printf(line, "\\%c", *rest);
            else if ((guchar)*rest < 0x20)
                g_string_append_printf(line, "\\u%04x", (guchar)*rest);
            else
                g_string_append_c(line, *rest);
        }
        if (*rest) {
            g_string_append_c(line, '?');
            rest++;
        }
    }
    g_string_append_c(line, '"');
}

void json_line_begin(const char *event)
{
    line = g_string_new("{\"event\":");
    append_quoted(event);
    gint64 now_us = g_get_monotonic_time();
    json_line_number("ms", (now_us - clock_start_us) / 1000);
    json_line_number("clock_us", now_us);
}

static void append_key(const char *key)
{
    g_string_append_c(line, ',');
    append_quoted(key);
    g_string_append_c(line, ':');
}

void json_line_text(const char *key, const char *value)
{
    append_key(key);
    if (value)
        append_quoted(value);
    else
        g_string_append(line, "null");
}

void json_line_number(const char *key, gint64 value)
{
    append_key(key);
    g_string_append_printf(line, "%" G_GINT64_FORMAT, value);
}

void json_line_truth(const char *key, gboolean value)
{
    append_key(key);
    g_string_append(line, value ? "true" : "false");
}

void json_line_end(void)
{
    g_string_append(line, "}\n");
    fwrite(line->str, 1, line->len, stdout);
    fflush(stdout);
    g_string_free(line, TRUE);
    line = NULL;
}
