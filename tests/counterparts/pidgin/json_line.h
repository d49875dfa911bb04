/* One JSON object per line on standard output, flushed line by line so that a driver can read as it happens. */
#ifndef JSON_LINE_H
#define JSON_LINE_H

#include <glib.h>

/* Starts the clock that stamps every line with "ms", milliseconds since this call. Beside it stands "clock_us",
 * microseconds of the clock all processes of a machine share, which the debug log shows too. */
void json_line_clock_starts(void);

/* begin … text/number/truth … end; lines do not nest. A NULL text is written as null, bytes that are not UTF-8 as '?'. */
void json_line_begin(const char *event);
void json_line_text(const char *key, const char *value);
void json_line_number(const char *key, gint64 value);
void json_line_truth(const char *key, gboolean value);
void json_line_end(void);

#endif
